from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator

import pytest

from heliograph import contracts
from heliograph.agent_transport import AgentTransport
from heliograph.errors import RefusedError, UnavailableError
from heliograph.framing import schema_id_of
from heliograph.identity import ProducerIdentity
from heliograph.message import BUNDLE_CONTENT_TYPE
from tests.client.batches import log_batch
from tests.client.fake_agent import Answer, FakeAgent, fake_agent

BATCH = log_batch(ProducerIdentity().mint)


@pytest.fixture
def agent() -> Iterator[FakeAgent]:
    with fake_agent() as found:
        yield found


@pytest.fixture
def transport(agent: FakeAgent) -> Iterator[AgentTransport]:
    found = AgentTransport(agent.endpoint)
    yield found
    found.close()


def test_batches_arrive_unchanged_in_one_request(agent: FakeAgent, transport: AgentTransport) -> None:
    transport.send([BATCH, BATCH.again()], 10)
    ((path, headers, messages),) = agent.requests
    assert path == "/heliograph/v1/batches"
    assert headers["Content-Type"] == BUNDLE_CONTENT_TYPE
    assert messages == [BATCH, BATCH.again()]


def test_a_connection_is_kept_for_the_next_send(agent: FakeAgent, transport: AgentTransport) -> None:
    transport.send([BATCH], 10)
    transport.send([BATCH], 10)
    assert agent.connections == 1


def test_a_connection_that_was_idle_is_not_trusted(agent: FakeAgent) -> None:
    clock = iter(float(s) for s in range(0, 10_000, 3))
    transport = AgentTransport(agent.endpoint, monotonic=lambda: next(clock))
    transport.send([BATCH], 1_000)
    transport.send([BATCH], 1_000)
    assert agent.connections == 2
    transport.close()


def test_the_ids_of_the_agents_registry_are_learned(agent: FakeAgent, transport: AgentTransport) -> None:
    schema = contracts.schema("log_batch")
    said = {"log_batch": {"id": 7, "fingerprint": schema.fingerprint.hex()}, "../x": {"id": 8, "fingerprint": ""}}
    agent.script = [Answer(body=json.dumps({"accepted": 1, "schemas": said}).encode())]
    transport.send([BATCH], 10)
    assert (schema.wire_id, contracts.schema("span_batch").wire_id) == (7, contracts.schema("span_batch").offline_id)
    assert schema_id_of(log_batch(ProducerIdentity().mint).body) == 7


@pytest.mark.parametrize(
    "reply",
    [b"", b"[]", b"{}", b"\xff", b'{"schemas": 1}', b'{"schemas": {"log_batch": 1}}', b'{"schemas": {"log_batch": {}}}',
     b'{"schemas": {"log_batch": {"id": 7, "fingerprint": "00"}}}'],
)  # fmt: skip
def test_a_reply_that_says_nothing_of_ids_is_as_good(agent: FakeAgent, transport: AgentTransport, reply: bytes) -> None:
    agent.script = [Answer(body=reply)]
    transport.send([BATCH], 10)
    schema = contracts.schema("log_batch")
    assert schema.wire_id == schema.offline_id


def test_a_token_is_sent_and_not_shown(agent: FakeAgent) -> None:
    transport = AgentTransport(agent.endpoint, token="s3cret")
    transport.send([BATCH], 10)
    transport.close()
    assert agent.requests[0][1]["Authorization"] == "Bearer s3cret"
    assert "s3cret" not in repr(transport)


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_what_the_agent_will_never_take_is_refused(agent: FakeAgent, transport: AgentTransport, status: int) -> None:
    agent.script = [Answer(status, body=b'{"error": "no such topic"}')]
    with pytest.raises(RefusedError, match="no such topic") as caught:
        transport.send([BATCH], 10)
    assert caught.value.status == status
    transport.send([BATCH], 10)


@pytest.mark.parametrize("status", [301, 401, 403, 404, 408, 429, 500, 502, 503])
def test_any_other_answer_means_try_again(agent: FakeAgent, transport: AgentTransport, status: int) -> None:
    agent.script = [Answer(status)]
    with pytest.raises(UnavailableError):
        transport.send([BATCH], 10)
    transport.send([BATCH], 10)


@pytest.mark.parametrize(
    ("value", "seconds"), [("7", 7.0), ("0.5", 0.5), ("1e9", 60.0), ("-1", None), ("nan", None), ("soon", None)]
)
def test_retry_after_is_heeded_within_reason(
    agent: FakeAgent, transport: AgentTransport, value: str, seconds: float | None
) -> None:
    agent.script = [Answer(503, {"Retry-After": value})]
    with pytest.raises(UnavailableError) as caught:
        transport.send([BATCH], 10)
    assert caught.value.retry_after_s == seconds


def test_an_answer_without_end_is_read_to_its_limit(agent: FakeAgent, transport: AgentTransport) -> None:
    agent.script = [Answer(400, body=b"x" * 1_000_000)]
    with pytest.raises(RefusedError) as caught:
        transport.send([BATCH], 10)
    assert len(str(caught.value)) < 1_000
    transport.send([BATCH], 10)


def test_a_peer_that_hangs_up_is_unavailable(agent: FakeAgent, transport: AgentTransport) -> None:
    agent.script = [Answer(hang_up=True)]
    with pytest.raises(UnavailableError):
        transport.send([BATCH], 10)
    transport.send([BATCH], 10)


def test_a_refused_port_is_unavailable() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        with pytest.raises(UnavailableError):
            AgentTransport(f"http://127.0.0.1:{listener.getsockname()[1]}").send([BATCH], 10)


def test_a_peer_that_never_answers_is_given_up_at_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(UnavailableError):
        AgentTransport(f"http://127.0.0.1:{listener.getsockname()[1]}").send([BATCH], 0.1)


def test_a_peer_that_speaks_another_protocol_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def speak() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"SSH-2.0-OpenSSH\r\n")
                connection.recv(1)

        speaker = threading.Thread(target=speak)
        speaker.start()
        with pytest.raises(UnavailableError):
            AgentTransport(f"http://127.0.0.1:{listener.getsockname()[1]}").send([BATCH], 10)
        speaker.join()


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_opens_a_connection_of_its_own(agent: FakeAgent, transport: AgentTransport) -> None:
    transport.send([BATCH], 10)
    pid = os.fork()
    if pid == 0:
        try:
            transport.send([BATCH.again()], 10)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    transport.send([BATCH], 10)
    assert [len(messages) for _, _, messages in agent.requests] == [1, 1, 1]
    assert agent.connections == 2


@pytest.mark.parametrize("endpoint", ["", "127.0.0.1:4318", "ftp://127.0.0.1", "http://", "http://127.0.0.1:99999"])
def test_an_endpoint_that_is_no_url_is_an_error_at_once(endpoint: str) -> None:
    with pytest.raises(ValueError, match=r"endpoint|Port"):
        AgentTransport(endpoint)
