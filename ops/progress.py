"""What `up` shows while it works: a live line on a terminal, plain lines elsewhere; all on stderr."""

from __future__ import annotations

from rich.console import Console
from rich.status import Status
from rich.text import Text

from ops.supervisor import EventKind


class Progress:
    """Tells of roles; quiet about what goes well once everything runs."""

    def __init__(self, console: Console, roles: tuple[str, ...]) -> None:
        self._console = console
        self._ready = dict.fromkeys(roles, False)
        self._is_up = False
        self._last_reason: dict[str, str] = {}
        self._status: Status | None = None
        if console.is_terminal:
            self._status = console.status("starting", spinner="dots")
            self._status.start()

    def event(self, kind: EventKind, role: str, detail: str) -> None:
        """One thing that happened to a role."""
        if kind in ("ready", "not ready", "exited", "hung"):
            self._ready[role] = kind == "ready"
        if self._status is not None:
            self._status.update(Text(self._line()))
        if kind == "ready" and self._last_reason.pop(role, None) is not None:
            self.say(f"{role}: ready again")
        elif not self._is_quiet(kind) and not self._was_said(kind, role, detail):
            self.say(f"{role}: {kind}{f' ({detail})' if detail else ''}")

    def say(self, text: str) -> None:
        """A line for people."""
        self._console.print(Text(text), soft_wrap=True)

    def up(self) -> None:
        """Everything runs."""
        self._is_up = True
        self.close()

    def close(self) -> None:
        """Take the live line away."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _is_quiet(self, kind: EventKind) -> bool:
        return kind in ("started", "ready") and (self._is_up or self._status is not None)

    def _was_said(self, kind: EventKind, role: str, detail: str) -> bool:
        """Whether a role that is started again and again says the same each time."""
        if kind in ("started", "ready"):
            return role in self._last_reason
        reason = f"{kind} {detail.partition('; again in ')[0]}"
        was_said = self._last_reason.get(role) == reason
        self._last_reason[role] = reason
        return was_said

    def _line(self) -> str:
        return "starting: " + "  ".join(f"{'✓' if is_ready else '…'} {role}" for role, is_ready in self._ready.items())
