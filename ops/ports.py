"""Choosing the ports before any role starts, so that a port in use is said at once and a free one stays the same over restarts."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from ops.errors import ConfigError, PortInUseError, Problem, UnavailableError


@dataclass(frozen=True, slots=True)
class Wanted:
    """One listening address that a role will take."""

    host: str
    port: int
    """0: a free one."""
    flag: str
    """How the user chooses another port."""


def choose(wanted: Sequence[Wanted]) -> list[int]:
    """The port of each: all free now, and different. Raises PortInUseError, ConfigError."""
    with contextlib.ExitStack() as held:
        ports: list[int] = []
        for each in wanted:
            try:
                found = socket.getaddrinfo(each.host, each.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            except OSError as error:
                raise ConfigError([Problem("", "host", f"{each.host} is not an address of this machine")]) from error
            family, kind, protocol, _, address = found[0]
            listener = held.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(address)
                listener.listen(1)
            except OSError as error:
                raise _refused(each, error) from error
            ports.append(listener.getsockname()[1])
        return ports


def url_of(host: str, port: int) -> str:
    """The URL by which this machine reaches a server that listens on `host`."""
    reached = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"


def _refused(wanted: Wanted, error: OSError) -> Exception:
    if error.errno == errno.EADDRINUSE:
        return PortInUseError(wanted.host, wanted.port, wanted.flag)
    if error.errno == errno.EACCES:
        return UnavailableError(
            f"port {wanted.port} needs more rights than this user has: choose one above 1023 with {wanted.flag}"
        )
    return ConfigError([Problem("", "host", f"cannot listen on {wanted.host}: {error.strerror}")])
