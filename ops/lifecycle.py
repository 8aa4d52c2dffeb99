"""The life of a supervised role and the order of stopping, decided purely: times come in, decisions go out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from ops.errors import EXIT_CONFIG, EXIT_UNAVAILABLE


class Phase(Enum):
    """Where a role is."""

    WAITING = "waiting"
    """For its turn to be started again."""
    STARTING = "starting"
    """Has a process, which has not answered yet."""
    RUNNING = "running"
    ENDING = "ending"
    """Was told to end, or killed; its process is still there."""


class Verdict(Enum):
    """What an exit means."""

    RESTART = "restart"
    GIVE_UP = "give up"


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """When a role is started again, and when it counts as hung."""

    backoff_first_s: float = 0.2
    backoff_max_s: float = 5.0
    stable_s: float = 10.0
    """A role that ran this long is started again without waiting longer than the first time."""
    start_max_s: float = 30.0
    """From start to the first answer."""
    misses_max: int = 3
    """Answers in a row that did not come, or said that the role is stuck, while it used no CPU."""
    busy_misses_max: int = 15
    """The same while it used some: a machine out of breath must not make us kill what works."""


@dataclass(slots=True)
class RoleLife:
    """One role over all its processes."""

    policy: RestartPolicy
    is_essential: bool = False
    """Without it nothing works, so what keeps it from ever starting ends everything; others are started again (bulkheads)."""
    phase: Phase = Phase.WAITING
    due_s: float = 0.0
    restarts: int = -1
    """How often it was started again."""
    _started_s: float = 0.0
    _failures: int = 0
    _misses: int = 0
    _was_ready: bool = False

    def is_due(self, now_s: float) -> bool:
        """Whether to start a process."""
        return self.phase is Phase.WAITING and now_s >= self.due_s

    def started(self, now_s: float) -> None:
        """A process was started."""
        self.phase = Phase.STARTING
        self.restarts += 1
        self._started_s = now_s
        self._misses = 0

    def is_overdue(self, now_s: float) -> bool:
        """Whether to kill a process that never answered."""
        return self.phase is Phase.STARTING and now_s - self._started_s > self.policy.start_max_s

    def answered(self) -> None:
        """/healthz said that all is well."""
        if self.phase in (Phase.STARTING, Phase.RUNNING):
            self.phase = Phase.RUNNING
            self._misses = 0

    def ready(self) -> None:
        """/readyz said that it can do its work."""
        self._was_ready = True

    def missed(self, is_busy: bool) -> bool:
        """/healthz did not answer in time, or said that the role is stuck; whether to kill it.

        `is_busy`: its process has used CPU since the miss before.
        """
        if self.phase not in (Phase.STARTING, Phase.RUNNING):
            return False
        self._misses += 1
        return self._misses >= (self.policy.busy_misses_max if is_busy else self.policy.misses_max)

    def ending(self) -> None:
        """It was told to end, or killed."""
        self.phase = Phase.ENDING

    def exited(self, now_s: float, exit_code: int) -> Verdict:
        """Its process is gone; `exit_code` is negative after a signal."""
        if now_s - self._started_s >= self.policy.stable_s:
            self._failures = 0
        backoff_s = min(self.policy.backoff_max_s, self.policy.backoff_first_s * 2.0 ** min(self._failures, 30))
        self._failures += 1
        self.phase = Phase.WAITING
        self.due_s = now_s + backoff_s
        # A bad configuration does not mend itself; a full disk or a damaged file may, but not at the first start.
        never_ran = self.is_essential and not self._was_ready
        is_final = exit_code == EXIT_CONFIG or (exit_code == EXIT_UNAVAILABLE and never_ran)
        return Verdict.GIVE_UP if is_final else Verdict.RESTART


@dataclass(frozen=True, slots=True)
class Stage:
    """Roles that are told to end together."""

    roles: tuple[str, ...]
    until_s: float
    """After the shutdown's start; then the next stage is told too."""


STAGES: tuple[Stage, ...] = (
    Stage(("demo",), 1.5),
    Stage(("agent",), 5.0),
    Stage(("router-search", "router-archive", "router-tsdb"), 8.0),
    Stage(("rules", "query"), 10.0),
)
"""Those who write before those who read what was written."""


@dataclass(frozen=True, slots=True)
class StopOrder:
    """What to do to which roles now."""

    terminate: tuple[str, ...] = ()
    kill: tuple[str, ...] = ()


@dataclass(slots=True)
class Shutdown:
    """Tells each stage to end when the one before it is gone or out of time; at the end whoever is left is killed."""

    roles: Sequence[str]
    begun_s: float
    stages: Sequence[Stage] = STAGES
    _told: set[str] = field(default_factory=set)

    def step(self, now_s: float, alive: Iterable[str]) -> StopOrder:
        """What to do now, given who is still there."""
        left = [role for role in self.roles if role in set(alive)]
        elapsed_s = now_s - self.begun_s
        if elapsed_s >= self.stages[-1].until_s:
            return StopOrder(kill=tuple(left))
        to_tell: list[str] = []
        for stage in self._all_stages():
            members = [role for role in left if role in stage.roles]
            to_tell += [role for role in members if role not in self._told]
            if members and elapsed_s < stage.until_s:
                break
        self._told.update(to_tell)
        return StopOrder(terminate=tuple(to_tell))

    def _all_stages(self) -> list[Stage]:
        named = {role for stage in self.stages for role in stage.roles}
        rest = tuple(role for role in self.roles if role not in named)
        last = self.stages[-1]
        return [*self.stages[:-1], Stage((*last.roles, *rest), last.until_s)]
