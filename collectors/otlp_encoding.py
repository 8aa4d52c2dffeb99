"""OTLP over HTTP as bytes: requests and answers as protobuf or JSON, and the Status body of errors."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import orjson
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from collectors.errors import RequestError

Encoding = Literal["protobuf", "json"]
Signal = Literal["logs", "traces", "metrics"]
M = TypeVar("M", bound=Message)

CONTENT_TYPES: dict[str, Encoding] = {"application/x-protobuf": "protobuf", "application/json": "json"}
_ID_KEYS = frozenset({"traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id"})


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    content_type: str
    body: bytes


def parse(message: M, body: bytes, encoding: Encoding) -> M:
    """Fill an empty request from a body; unknown fields are ignored. Raises RequestError(400)."""
    try:
        if encoding == "protobuf":
            message.ParseFromString(body)
        else:
            document = orjson.loads(body)
            if not isinstance(document, dict):
                raise RequestError(400, "the JSON body is not an object")
            json_format.ParseDict(_with_base64_ids(document), message, ignore_unknown_fields=True)
    except (DecodeError, json_format.Error, orjson.JSONDecodeError, ValueError, TypeError, RecursionError) as error:
        kind = "protobuf" if encoding == "protobuf" else "JSON"
        raise RequestError(400, f"the body is not an OTLP request in {kind}: {str(error)[:200]}") from error
    return message


def success(signal: Signal, refused: int, reason: str, encoding: Encoding) -> Answer:
    """200, with a partial success when items were refused."""
    answer: Message
    if signal == "logs":
        answer = ExportLogsServiceResponse()
        if refused or reason:
            answer.partial_success.rejected_log_records = refused
            answer.partial_success.error_message = reason
    elif signal == "traces":
        answer = ExportTraceServiceResponse()
        if refused or reason:
            answer.partial_success.rejected_spans = refused
            answer.partial_success.error_message = reason
    else:
        answer = ExportMetricsServiceResponse()
        if refused or reason:
            answer.partial_success.rejected_data_points = refused
            answer.partial_success.error_message = reason
    if encoding == "protobuf":
        return Answer(200, "application/x-protobuf", answer.SerializeToString())
    return Answer(200, "application/json", json_format.MessageToJson(answer, indent=None).encode())


def failure(status: int, detail: str, encoding: Encoding) -> Answer:
    """An error with google.rpc.Status as body, whose code matches the HTTP status."""
    code = {400: 3, 413: 3, 415: 3, 401: 16, 429: 8, 503: 14}.get(status, 2)
    if encoding == "json":
        return Answer(status, "application/json", orjson.dumps({"code": code, "message": detail}))
    text = detail.encode()[:1000].decode("utf-8", "ignore").encode()
    # Status has two fields that matter: 1, a varint, and 2, a string.
    length = bytes([len(text)]) if len(text) < 128 else bytes([len(text) & 0x7F | 0x80, len(text) >> 7])
    return Answer(status, "application/x-protobuf", b"\x08" + bytes([code]) + b"\x12" + length + text)


def _with_base64_ids(document: dict[str, Any]) -> dict[str, Any]:
    """OTLP's JSON spells ids in hex, where protobuf's JSON expects base64."""
    stack: list[Any] = [document]
    while stack:
        item = stack.pop()
        if isinstance(item, list):
            stack.extend(item)
            continue
        if not isinstance(item, dict):
            continue
        for key, value in item.items():
            if key in _ID_KEYS and isinstance(value, str):
                item[key] = base64.b64encode(bytes.fromhex(value)).decode()
            elif isinstance(value, (dict, list)):
                stack.append(value)
    return document
