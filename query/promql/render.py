"""Results as the JSON of Prometheus' HTTP API: the `data` member of an answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import orjson

from query.promql.engine import Result, ResultKind
from query.promql.numbers import go_float, sample_text
from tsdb.samples import Floats, Labels, Longs

_PLAIN_MIN, _PLAIN_MAX = 1e-5, 1e16
"""Between them the JSON encoder writes numbers as Go does, but for a closing .0."""


def render(result: Result) -> bytes:
    """{"resultType": …, "result": …}, values as texts in Go's format, times in seconds."""
    if result.kind is ResultKind.MATRIX:
        body = _matrix(result)
    elif result.kind is ResultKind.VECTOR:
        body = _vector(result)
    elif result.kind is ResultKind.SCALAR:
        body = b'[%b,"%b"]' % (_seconds(result.times)[0], go_float(float(result.values[0, 0])).encode())
    else:
        body = b"[%b,%b]" % (_seconds(result.times)[0], orjson.dumps(_valid(result.text)))
    return b'{"resultType":"%b","result":%b}' % (result.kind.value.encode(), body)


def metric_json(labels: Labels) -> bytes:
    """A label set as a JSON object."""
    try:
        return orjson.dumps(dict(labels))
    except orjson.JSONEncodeError:
        return orjson.dumps({_valid(name): _valid(value) for name, value in labels})


def _valid(text: str) -> str:
    """Bytes that are no UTF-8 become replacement characters, which is what JSON can hold."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _seconds(times: Longs) -> list[bytes]:
    return [_second(time_ms) for time_ms in times.tolist()]


def _second(time_ms: int) -> bytes:
    whole, rest = divmod(abs(time_ms), 1000)
    sign = b"-" if time_ms < 0 else b""
    return b"%b%d.%03d" % (sign, whole, rest) if rest else b"%b%d" % (sign, whole)


def _texts(values: Floats) -> list[bytes]:
    """The text of every value of a flat array."""
    if not len(values):
        return []
    dumped = orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)
    texts = dumped[1:-1].replace(b".0,", b",").removesuffix(b".0").split(b",")
    size = np.abs(values)
    plain = (size == 0) | ((size >= _PLAIN_MIN) & (size < _PLAIN_MAX))
    for index in np.flatnonzero(~plain).tolist():
        texts[index] = sample_text(float(values[index])).encode()
    return texts


def _vector(result: Result) -> bytes:
    stamp = _seconds(result.times)[0]
    parts = [
        b'{"metric":%b,"value":[%b,"%b"]}' % (metric_json(labels), stamp, text)
        for labels, text in zip(result.labels, _texts(result.values[:, 0]), strict=True)
    ]
    return b"[" + b",".join(parts) + b"]"


def _matrix(result: Result) -> bytes:
    if not len(result.labels) or not len(result.times):
        return b"[]"
    metrics = [metric_json(labels) for labels in result.labels]
    stamps = _seconds(result.times)
    if result.present.all():
        before, values = _dense(metrics, stamps), _texts(result.values.ravel())
    else:
        before, values = _sparse(metrics, stamps, result)
    parts: list[bytes] = [b""] * (2 * len(values))
    parts[0::2] = before
    parts[1::2] = values
    return b"[" + b"".join(parts)[len(_SERIES_END) :] + b'"]]}]'


_SERIES_END = b'"]]},'


def _series_start(metric: bytes, stamp: bytes) -> bytes:
    """What stands before a series' first value: the end of the series before it, and its own labels."""
    return b'%b{"metric":%b,"values":[[%b,"' % (_SERIES_END, metric, stamp)


def _point_starts(stamps: Sequence[bytes]) -> list[bytes]:
    return [b'"],[%b,"' % stamp for stamp in stamps]


def _dense(metrics: list[bytes], stamps: list[bytes]) -> list[bytes]:
    """What stands before each value, every series having one at every time."""
    before = _point_starts(stamps) * len(metrics)
    before[0 :: len(stamps)] = [_series_start(metric, stamps[0]) for metric in metrics]
    return before


def _sparse(metrics: list[bytes], stamps: list[bytes], result: Result) -> tuple[list[bytes], list[bytes]]:
    """The same for series with gaps, and the texts of the values that are present."""
    present = result.present
    starts = np.array(_point_starts(stamps), object)
    before: list[bytes] = np.broadcast_to(starts, present.shape)[present].tolist()
    counts = present.sum(axis=1)
    first_value = np.cumsum(counts) - counts
    first_step = present.argmax(axis=1)
    for metric, index, step in zip(metrics, first_value.tolist(), first_step.tolist(), strict=True):
        before[index] = _series_start(metric, stamps[step])
    return before, _texts(result.values[present])
