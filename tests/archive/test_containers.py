from __future__ import annotations

import io
import itertools
from typing import Any

import cramjam
import fastavro
import fastavro._read_py as avro_reader
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archive.containers import read_container, write_container
from archive.port import CorruptArchiveError
from heliograph import contracts
from heliograph.framing import FRAME_BYTES
from heliograph.records import decode_batch
from tests.routers.running import log_message

SCHEMA = contracts.schema("log_batch")


@given(st.lists(st.binary(max_size=2000), max_size=20))
def test_blocks_come_back_as_they_were(bodies: list[bytes]) -> None:
    data = write_container('"bytes"', bodies)
    found = read_container("k", data)
    assert (found.schema_text, list(found.blocks)) == ('"bytes"', bodies)
    assert write_container('"bytes"', bodies) == data


def test_an_avro_reader_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # fastavro brings the codec only with an extra package; the bytes of the codec are zstd's own either way.
    def zstandard(decoder: Any) -> io.BytesIO:
        return io.BytesIO(bytes(cramjam.zstd.decompress(decoder.read_fixed(decoder.read_long()))))

    monkeypatch.setitem(avro_reader.BLOCK_READERS, "zstandard", zstandard)
    messages = [log_message(f"line {i}") for i in range(3)]
    data = write_container(SCHEMA.text, [memoryview(m.body)[FRAME_BYTES:] for m in messages])
    reader = avro_reader.reader(io.BytesIO(data))
    assert list(reader) == [decode_batch(m.body, SCHEMA) for m in messages]
    assert fastavro.parse_schema(reader.writer_schema) == SCHEMA.parsed
    assert reader.metadata["avro.codec"] == "zstandard"


def test_a_container_cut_anywhere_is_corrupt_or_ends_between_blocks() -> None:
    bodies = [b"one" * 50, b"two" * 50]
    data = write_container('"bytes"', bodies)
    whole = []
    for size in range(len(data)):
        try:
            whole.append(read_container("k", data[:size]).blocks)
        except CorruptArchiveError as error:
            assert error.key == "k"
    assert whole == [(), (bodies[0],)]


def test_a_flipped_bit_never_passes_unseen_beyond_the_payload() -> None:
    data = write_container('"bytes"', [b"some body" * 30])
    for at, bit in itertools.product(range(len(data) - 16, len(data)), range(8)):
        broken = bytearray(data)
        broken[at] ^= 1 << bit
        with pytest.raises(CorruptArchiveError):
            read_container("k", bytes(broken))


def test_a_block_that_inflates_beyond_the_limit_is_refused() -> None:
    data = write_container('"bytes"', [b"\0" * 100_000])
    with pytest.raises(CorruptArchiveError):
        read_container("k", data, block_bytes_max=99_999)
    assert read_container("k", data, block_bytes_max=100_000).blocks == (b"\0" * 100_000,)


@pytest.mark.parametrize(
    "data", [b"", b"Obj\x01", b"Obj\x02" + b"\0" * 40, b"PK\x03\x04" * 20, b"Obj\x01" + b"\xff" * 40]
)
def test_what_is_no_container_is_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptArchiveError):
        read_container("k", data)
