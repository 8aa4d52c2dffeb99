"""Trying one request again until its call's time is over."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from archive.port import ArchiveUnavailableError
from archive.s3_faults import S3_ERRORS, RefusedError, fault_of

_T = TypeVar("_T")
_PAUSE_S: Final = 0.1
_PAUSE_S_MAX: Final = 3.0


class MissingError(Exception):
    """There is no such object or upload."""


class ConditionError(Exception):
    """There is an object already."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Time and chance, from outside."""

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random


class Attempts:
    """The tries of one request. `in_doubt` says whether an earlier one may have been carried out."""

    def __init__(self, doing: str, deadline: float, pace: Pace) -> None:
        self.in_doubt = False
        self._doing = doing
        self._deadline = deadline
        self._pace = pace

    def run(self, request: Callable[[], _T]) -> _T:
        """Raises MissingError, ConditionError, RefusedError, and ArchiveUnavailableError when time is over."""
        for n in itertools.count():
            answer = self._try(request, n)
            if answer is not None:
                return answer[0]
        raise AssertionError("unreachable")

    def _try(self, request: Callable[[], _T], n: int) -> tuple[_T] | None:
        """None after a pause, when it is to be tried again."""
        try:
            return (request(),)
        except S3_ERRORS as error:
            fault = fault_of(error)
            self.in_doubt = self.in_doubt or fault.in_doubt
            if fault.cause == "missing":
                raise MissingError from error
            if fault.cause == "exists":
                raise ConditionError from error
            if fault.cause == "refused":
                raise RefusedError(f"{self._doing}: {fault.says}") from error
            self._pause_or_give_up(n, fault.says, error)
            return None

    def check_time(self) -> None:
        """Raises ArchiveUnavailableError when time is over: for reading a body that trickles."""
        if self._pace.clock() >= self._deadline:
            raise ArchiveUnavailableError(f"{self._doing}: it does not answer in time")

    def _pause_or_give_up(self, n: int, says: str, error: Exception) -> None:
        pause_s = min(_PAUSE_S * 2.0 ** min(n, 10), _PAUSE_S_MAX) * (0.5 + self._pace.chance() / 2)
        if self._pace.clock() + pause_s >= self._deadline:
            raise ArchiveUnavailableError(f"{self._doing}: {says}") from error
        self._pace.sleep(pause_s)
