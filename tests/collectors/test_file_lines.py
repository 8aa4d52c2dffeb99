from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from collectors.file_lines import LINE_BYTES_MAX, SPAN_BYTES_MAX, Cut, cut_lines


def cut(data: bytes, first: int = 0, *, flush: bool = True, bytes_max: int | None = None, searched: int = 0) -> Cut:
    return cut_lines(
        lambda at, size: data[at : at + size], first, len(data), flush=flush, bytes_max=bytes_max, searched=searched
    )


def texts(found: Cut) -> list[str]:
    return [line.text for line in found.lines]


def test_lines_end_at_newlines_and_empty_ones_are_left_out() -> None:
    found = cut(b"a\r\n\n\nb\nrest", flush=False)
    assert texts(found) == ["a", "b"]
    assert found.next == len(b"a\r\n\n\nb\n")


def test_the_rest_counts_when_it_is_flushed() -> None:
    assert texts(cut(b"a\nrest")) == ["a", "rest"]


def test_a_cut_stops_before_it_is_too_large_but_never_at_nothing() -> None:
    found = cut(b"aaaa\nbbbb\ncccc\n", bytes_max=8)
    assert texts(found) == ["aaaa", "bbbb"]
    assert texts(cut(b"aaaa\n", bytes_max=1)) == ["aaaa"]


def test_bytes_that_are_not_utf8_are_replaced_and_marked() -> None:
    (line,) = cut(b"caf\xe9 \xff!\n").lines
    assert (line.text, line.invalid, line.truncated_bytes) == ("caf� �!", True, 0)


def test_a_long_line_keeps_its_head_and_says_what_is_missing() -> None:
    found = cut(b"x\n" + b"y" * 10_000_000 + b"\nz\n")
    assert [len(t) for t in texts(found)] == [1, LINE_BYTES_MAX, 1]
    assert found.lines[1].truncated_bytes == 10_000_000 - LINE_BYTES_MAX


def test_a_long_line_is_cut_between_characters() -> None:
    (line,) = cut("é".encode() * LINE_BYTES_MAX + b"\n").lines
    assert set(line.text) == {"é"}
    assert not line.invalid
    (odd,) = cut(b"a" + "é".encode() * LINE_BYTES_MAX + b"\n").lines
    assert set(odd.text) == {"a", "é"}
    assert not odd.invalid
    assert len(odd.text.encode()) + odd.truncated_bytes == 2 * LINE_BYTES_MAX + 1


def test_a_long_invalid_line_stays_within_the_bound_when_marks_are_longer_than_bytes() -> None:
    (line,) = cut(b"\xff" * 1_000_000 + b"\n").lines
    assert len(line.text.encode()) <= LINE_BYTES_MAX


def test_a_line_without_end_is_cut_at_the_span() -> None:
    class Endless:
        def __call__(self, at: int, size: int) -> bytes:
            return b"x" * size

    found = cut_lines(Endless(), 0, 2 * SPAN_BYTES_MAX, flush=False, bytes_max=1)
    assert found.next == SPAN_BYTES_MAX
    assert found.lines[0].truncated_bytes == SPAN_BYTES_MAX - LINE_BYTES_MAX


def test_what_was_searched_is_not_searched_again() -> None:
    data = b"x" * 1_000_000
    first = cut(data, flush=False)
    assert (first.next, first.searched) == (0, len(data))
    reads: list[int] = []

    def read_at(at: int, size: int) -> bytes:
        reads.append(size)
        return (data + b"\n")[at : at + size]

    found = cut_lines(read_at, 0, len(data) + 1, flush=False, bytes_max=1, searched=first.searched)
    assert found.lines[0].truncated_bytes == len(data) - LINE_BYTES_MAX
    assert sum(reads) < 600_000


@given(st.binary(max_size=400).map(lambda b: b.replace(b"\x00", b"\n")), st.integers(1, 60), st.booleans())
def test_a_range_read_again_gives_the_same_lines(data: bytes, bytes_max: int, flush: bool) -> None:
    at = 0
    together: list[str] = []
    while True:
        found = cut(data, at, flush=flush, bytes_max=bytes_max)
        if found.next == at:
            break
        again = cut_lines(lambda o, n: data[o : o + n], at, found.next, flush=True, bytes_max=None)
        assert again.lines == found.lines
        assert again.next == found.next
        together += texts(found)
        at = found.next
    assert at == (len(data) if flush else data.rfind(b"\n") + 1)
    pieces = (p.removesuffix(b"\r").decode("utf-8", "replace") for p in data[:at].split(b"\n"))
    assert together == [p for p in pieces if p]
