import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.zip.CRC32;
import java.util.zip.CRC32C;
import org.apache.avro.Schema;
import org.apache.avro.file.DataFileReader;
import org.apache.avro.generic.GenericData;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericFixed;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Another language on the platform's topics and files, with nothing of the platform's but docs/formats and the registry.
 *
 *   read BOOTSTRAP REGISTRY COUNT TOPIC    prints COUNT messages of a topic as JSON lines
 *   write BOOTSTRAP REGISTRY TOPIC         reads one log batch as JSON from standard input and produces it
 *   files PATH...                          prints the records of Avro container files as JSON lines
 */
public final class Interop {
    private static final ObjectMapper JSON = new ObjectMapper();
    /** UTF-8 whatever the environment says. */
    private static final PrintStream OUT = new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);
    private static final HexFormat HEX = HexFormat.of();
    private static final Duration PATIENCE = Duration.ofSeconds(60);
    private static final long NANOS_PER_MINUTE = 60_000_000_000L;
    private static final int FRAME_BYTES = 5;

    public static void main(String[] args) throws Exception {
        switch (args[0]) {
            case "read" -> read(args[1], new Registry(args[2]), Integer.parseInt(args[3]), args[4]);
            case "write" -> write(args[1], new Registry(args[2]), args[3]);
            case "files" -> files(Arrays.asList(args).subList(1, args.length));
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    /** A schema registry by Confluent's API. */
    private static final class Registry {
        private final HttpClient http = HttpClient.newHttpClient();
        private final String url;
        private final Map<Integer, Schema> schemas = new TreeMap<>();

        Registry(String url) {
            this.url = url;
        }

        Schema schema(int id) throws Exception {
            if (!schemas.containsKey(id)) {
                schemas.put(id, new Schema.Parser().parse(get("/schemas/ids/" + id).get("schema").asText()));
            }
            return schemas.get(id);
        }

        JsonNode get(String path) throws Exception {
            HttpRequest request = HttpRequest.newBuilder(URI.create(url + path)).timeout(PATIENCE).build();
            HttpResponse<String> answer = http.send(request, HttpResponse.BodyHandlers.ofString());
            if (answer.statusCode() != 200) {
                throw new IOException(path + ": " + answer.statusCode() + " " + answer.body());
            }
            return JSON.readTree(answer.body());
        }
    }

    private static void read(String bootstrap, Registry registry, int count, String topic) throws Exception {
        Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap, "enable.auto.commit", false);
        try (var consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            List<TopicPartition> partitions = new ArrayList<>();
            consumer.partitionsFor(topic).forEach(p -> partitions.add(new TopicPartition(topic, p.partition())));
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            long deadline = System.nanoTime() + PATIENCE.toNanos();
            for (int found = 0; found < count; ) {
                if (System.nanoTime() > deadline) {
                    throw new IOException(found + " of " + count + " messages came in time");
                }
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    print(message(registry, record));
                    found++;
                }
            }
        }
    }

    private static Map<String, Object> message(Registry registry, ConsumerRecord<byte[], byte[]> record) throws Exception {
        ByteBuffer framed = ByteBuffer.wrap(record.value());
        if (framed.get() != 0) {
            throw new IOException("not in Confluent framing");
        }
        Schema schema = registry.schema(framed.getInt());
        var decoder = DecoderFactory.get().binaryDecoder(record.value(), FRAME_BYTES, record.value().length - FRAME_BYTES, null);
        Object value = new GenericDatumReader<GenericRecord>(schema).read(null, decoder);
        if (!decoder.isEnd()) {
            throw new IOException("bytes after the batch");
        }
        Map<String, Object> headers = new LinkedHashMap<>();
        for (Header header : record.headers()) {
            headers.put(header.key(), HEX.formatHex(header.value()));
        }
        Map<String, Object> line = new LinkedHashMap<>();
        line.put("partition", record.partition());
        line.put("schema", schema.getFullName());
        line.put("headers", headers);
        line.put("value", plain(value));
        return line;
    }

    private static void files(List<String> paths) throws Exception {
        for (String path : paths) {
            try (var reader = new DataFileReader<>(new File(path), new GenericDatumReader<GenericRecord>())) {
                while (reader.hasNext()) {
                    print(plain(reader.next()));
                }
            }
        }
    }

    /** A datum as what JSON has: bytes and fixed as hex. */
    private static Object plain(Object datum) {
        if (datum instanceof GenericRecord record) {
            Map<String, Object> out = new LinkedHashMap<>();
            record.getSchema().getFields().forEach(field -> out.put(field.name(), plain(record.get(field.pos()))));
            return out;
        }
        if (datum instanceof Map<?, ?> map) {
            Map<String, Object> out = new TreeMap<>();
            map.forEach((key, value) -> out.put(key.toString(), plain(value)));
            return out;
        }
        if (datum instanceof Iterable<?> items) {
            List<Object> out = new ArrayList<>();
            items.forEach(item -> out.add(plain(item)));
            return out;
        }
        if (datum instanceof GenericFixed fixed) {
            return HEX.formatHex(fixed.bytes());
        }
        if (datum instanceof ByteBuffer bytes) {
            byte[] copy = new byte[bytes.remaining()];
            bytes.duplicate().get(copy);
            return HEX.formatHex(copy);
        }
        return datum instanceof CharSequence ? datum.toString() : datum;
    }

    private static void print(Object line) throws IOException {
        OUT.println(JSON.writeValueAsString(line));
    }

    private static void write(String bootstrap, Registry registry, String topic) throws Exception {
        JsonNode given = JSON.readTree(System.in);
        JsonNode version = registry.get("/subjects/" + topic + "-value/versions/latest");
        Schema schema = registry.schema(version.get("id").asInt());
        LogBatch batch = new LogBatch(schema, given);
        byte[] body = batch.body(version.get("id").asInt());
        int partitions;
        Map<String, Object> settings = Map.of("bootstrap.servers", bootstrap, "acks", "all", "enable.idempotence", true);
        try (var producer = new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
            partitions = producer.partitionsFor(topic).size();
            var record = new ProducerRecord<byte[], byte[]>(topic, batch.partition(partitions), null, body);
            batch.headers(version.get("schema").asText(), body).forEach((key, value) -> record.headers().add(key, value));
            print(Map.of("offset", producer.send(record).get().offset()));
        }
    }

    /** A batch of logs, sealed as schemas/log_batch.avsc and the headers demand. */
    private static final class LogBatch {
        private final Schema schema;
        private final byte[] producerId;
        private final long sequence;
        private final Map<String, String> resource = new TreeMap<>();
        private final List<GenericRecord> records = new ArrayList<>();
        private final TreeMap<Long, long[]> books = new TreeMap<>();

        LogBatch(Schema schema, JsonNode given) throws IOException {
            this.schema = schema;
            producerId = HEX.parseHex(given.get("producer_id").asText());
            sequence = given.get("sequence").asLong();
            given.get("resource").properties().forEach(entry -> resource.put(entry.getKey(), entry.getValue().asText()));
            Schema recordSchema = schema.getField("records").schema().getElementType();
            for (JsonNode one : given.get("records")) {
                GenericRecord record = record(recordSchema, one);
                long hash = itemHash(recordSchema, record, records.size());
                record.put("item_hash", hash);
                long[] book = books.computeIfAbsent((long) (int) record.get("event_minute"), minute -> new long[2]);
                book[0]++;
                book[1] += hash;
                records.add(record);
            }
        }

        private static GenericRecord record(Schema schema, JsonNode given) {
            GenericRecord record = new GenericData.Record(schema);
            long time = given.get("time_unix_nano").asLong();
            record.put("time_unix_nano", time);
            record.put("observed_time_unix_nano", time);
            record.put("event_minute", (int) Math.floorDiv(time, NANOS_PER_MINUTE));
            record.put("severity_number", given.get("severity_number").asInt());
            record.put("severity_text", given.get("severity_text").asText());
            record.put("body", given.get("body").asText());
            Map<String, Object> attributes = new LinkedHashMap<>();
            given.get("attributes").properties().forEach(e -> attributes.put(e.getKey(), attribute(e.getValue())));
            record.put("attributes", attributes);
            record.put("trace_id", ByteBuffer.wrap(HEX.parseHex(given.get("trace_id").asText())));
            record.put("span_id", ByteBuffer.wrap(HEX.parseHex(given.get("span_id").asText())));
            record.put("flags", given.get("flags").asInt());
            record.put("truncated_bytes", 0);
            record.put("item_hash", 0L);
            return record;
        }

        private static Object attribute(JsonNode value) {
            if (value.isBoolean()) {
                return value.asBoolean();
            }
            if (value.isIntegralNumber()) {
                return value.asLong();
            }
            return value.isNumber() ? (Object) value.asDouble() : value.asText();
        }

        /** CRC-32 over identity and content: the record's bytes without its last field, which is one zero byte here. */
        private long itemHash(Schema schema, GenericRecord record, int index) throws IOException {
            byte[] encoded = encode(schema, record);
            CRC32 crc = new CRC32();
            crc.update(ByteBuffer.allocate(28).put(producerId).putLong(sequence).putInt(index).array());
            crc.update(encoded, 0, encoded.length - 1);
            return crc.getValue();
        }

        byte[] body(int schemaId) throws IOException {
            GenericRecord batch = new GenericData.Record(schema);
            batch.put("producer_id", new GenericData.Fixed(schema.getField("producer_id").schema(), producerId));
            batch.put("sequence", sequence);
            batch.put("resource", resource);
            batch.put("scope_name", "");
            batch.put("scope_version", "");
            batch.put("records", new GenericData.Array<>(schema.getField("records").schema(), records));
            byte[] encoded = encode(schema, batch);
            return ByteBuffer.allocate(FRAME_BYTES + encoded.length).put((byte) 0).putInt(schemaId).put(encoded).array();
        }

        int partition(int partitions) {
            ByteArrayOutputStream key = new ByteArrayOutputStream();
            byte[] trace = bytes(records.get(0).get("trace_id"));
            if (trace.length > 0) {
                key.writeBytes(trace);
            } else {
                List<String> pairs = new ArrayList<>();
                resource.forEach((name, value) -> pairs.add(name + "=" + value));
                key.writeBytes(String.join("\0", pairs).getBytes(StandardCharsets.UTF_8));
            }
            CRC32 crc = new CRC32();
            crc.update(key.toByteArray());
            return (int) (crc.getValue() % partitions);
        }

        Map<String, byte[]> headers(String schemaText, byte[] body) throws Exception {
            CRC32C crc = new CRC32C();
            crc.update(body);
            byte[] digest = MessageDigest.getInstance("SHA-256").digest(schemaText.getBytes(StandardCharsets.UTF_8));
            ByteBuffer entries = ByteBuffer.allocate(16 * books.size());
            books.forEach((minute, book) -> entries.putInt(minute.intValue()).putInt((int) book[0]).putLong(book[1]));
            Map<String, byte[]> headers = new LinkedHashMap<>();
            headers.put("hg.tenant", "default".getBytes(StandardCharsets.UTF_8));
            headers.put("hg.service", resource.get("service.name").getBytes(StandardCharsets.UTF_8));
            headers.put("hg.producer_id", producerId);
            headers.put("hg.sequence", ByteBuffer.allocate(8).putLong(sequence).array());
            headers.put("hg.attempt", new byte[4]);
            headers.put("hg.count", ByteBuffer.allocate(4).putInt(records.size()).array());
            headers.put("hg.time_min_ns", time(records.stream().mapToLong(r -> (long) r.get("time_unix_nano")).min().getAsLong()));
            headers.put("hg.time_max_ns", time(records.stream().mapToLong(r -> (long) r.get("time_unix_nano")).max().getAsLong()));
            headers.put("hg.schema", Arrays.copyOf(digest, 16));
            headers.put("hg.crc32c", ByteBuffer.allocate(4).putInt((int) crc.getValue()).array());
            headers.put("hg.books", entries.array());
            return headers;
        }

        private static byte[] time(long nanos) {
            return ByteBuffer.allocate(8).putLong(nanos).array();
        }

        private static byte[] bytes(Object datum) {
            ByteBuffer buffer = ((ByteBuffer) datum).duplicate();
            byte[] copy = new byte[buffer.remaining()];
            buffer.get(copy);
            return copy;
        }

        private static byte[] encode(Schema schema, GenericRecord record) throws IOException {
            ByteArrayOutputStream out = new ByteArrayOutputStream();
            BinaryEncoder encoder = EncoderFactory.get().binaryEncoder(out, null);
            new GenericDatumWriter<GenericRecord>(schema).write(record, encoder);
            encoder.flush();
            return out.toByteArray();
        }
    }
}
