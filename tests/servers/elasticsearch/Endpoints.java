import java.util.Collection;
import java.util.List;
import java.util.Set;
import java.util.function.Predicate;
import java.util.function.Supplier;
import org.elasticsearch.Build;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.action.support.master.AcknowledgedResponse;
import org.elasticsearch.client.internal.node.NodeClient;
import org.elasticsearch.cluster.ClusterState;
import org.elasticsearch.cluster.ClusterStateUpdateTask;
import org.elasticsearch.cluster.metadata.DataStream;
import org.elasticsearch.cluster.metadata.MetadataDataStreamsService;
import org.elasticsearch.cluster.metadata.ProjectId;
import org.elasticsearch.cluster.node.DiscoveryNodes;
import org.elasticsearch.cluster.service.ClusterService;
import org.elasticsearch.features.NodeFeature;
import org.elasticsearch.plugins.ActionPlugin;
import org.elasticsearch.plugins.Plugin;
import org.elasticsearch.rest.BaseRestHandler;
import org.elasticsearch.rest.RestHandler;
import org.elasticsearch.rest.RestRequest;
import org.elasticsearch.rest.RestResponse;
import org.elasticsearch.rest.RestStatus;
import org.elasticsearch.rest.action.RestToXContentListener;

/** Two endpoints whose modules are not published: `GET /`, and `DELETE /_data_stream/{name}`, with which tests tidy up. */
public class Endpoints extends Plugin implements ActionPlugin {
    private ClusterService cluster;

    @Override
    public Collection<?> createComponents(PluginServices services) {
        cluster = services.clusterService();
        return List.of();
    }

    @Override
    public Collection<RestHandler> getRestHandlers(
            RestHandlersServices services, Supplier<DiscoveryNodes> nodes, Predicate<NodeFeature> features) {
        return List.of(new Greeting(), new Deletion());
    }

    private final class Greeting extends BaseRestHandler {
        @Override
        public String getName() {
            return "greeting";
        }

        @Override
        public List<Route> routes() {
            return List.of(new Route(RestRequest.Method.GET, "/"));
        }

        @Override
        protected RestChannelConsumer prepareRequest(RestRequest request, NodeClient client) {
            return channel -> {
                var json = channel.newBuilder().startObject();
                json.field("name", cluster.getNodeName()).field("cluster_name", cluster.getClusterName().value());
                json.startObject("version").field("number", Build.current().version());
                json.field("build_flavor", Build.current().flavor()).endObject();
                json.field("tagline", "You Know, for Search").endObject();
                channel.sendResponse(new RestResponse(RestStatus.OK, json));
            };
        }
    }

    private final class Deletion extends BaseRestHandler {
        @Override
        public String getName() {
            return "deletion";
        }

        @Override
        public List<Route> routes() {
            return List.of(new Route(RestRequest.Method.DELETE, "/_data_stream/{name}"));
        }

        @Override
        protected RestChannelConsumer prepareRequest(RestRequest request, NodeClient client) {
            String name = request.param("name");
            return channel -> {
                ActionListener<AcknowledgedResponse> answer = new RestToXContentListener<>(channel);
                cluster.submitUnbatchedStateUpdateTask("delete data stream " + name, new ClusterStateUpdateTask() {
                    @Override
                    public ClusterState execute(ClusterState state) {
                        var project = state.projectState(ProjectId.DEFAULT);
                        DataStream stream = project.metadata().dataStreams().get(name);
                        return stream == null ? state
                            : MetadataDataStreamsService.deleteDataStreams(project, Set.of(stream), cluster.getSettings());
                    }

                    @Override
                    public void clusterStateProcessed(ClusterState before, ClusterState after) {
                        answer.onResponse(AcknowledgedResponse.TRUE);
                    }

                    @Override
                    public void onFailure(Exception error) {
                        answer.onFailure(error);
                    }
                });
            };
        }
    }
}
