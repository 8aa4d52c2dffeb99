"""Runs one source in a thread, and again when it raises."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from collectors.errors import CollectorError
from collectors.port import Source

log = logging.getLogger(__name__)

_BACKOFF_MIN_S = 0.5
_BACKOFF_MAX_S = 30.0
_HEALTHY_S = 60.0


class Runner:
    """A source's thread. A source that raises waits longer each time, up to half a minute, until it has run well for a minute."""

    def __init__(self, source: Source, stop: threading.Event, clock: Callable[[], float] = time.monotonic) -> None:
        self.source = source
        self.restarts = 0
        self.last_error = ""
        self._stop = stop
        self._clock = clock
        self._beat_at = clock()
        self._waits = False
        self._thread = threading.Thread(target=self._run, name=source.name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def is_well(self, silence_max_s: float) -> bool:
        """Whether the source has given a sign of life lately, or waits for its next try."""
        return self._waits or self._clock() - self._beat_at <= silence_max_s

    def join(self, timeout_s: float) -> bool:
        """Whether the source ended in time."""
        self._thread.join(max(0.0, timeout_s))
        return not self._thread.is_alive()

    def status(self) -> dict[str, int | float | str]:
        """The source's own, with `restarts` and `last_error`."""
        return {**self.source.status(), "restarts": self.restarts, "last_error": self.last_error}

    def _run(self) -> None:
        pause_s = _BACKOFF_MIN_S
        while not self._stop.is_set():
            began = self._clock()
            self._beat()
            try:
                self.source.run(self._stop, self._beat)
            except CollectorError as error:
                self._failed(str(error), None)
            except Exception as error:  # whatever a source stumbles over must not end the others
                self._failed(f"{type(error).__name__}: {error}", error)
            else:
                return
            if self._clock() - began >= _HEALTHY_S:
                pause_s = _BACKOFF_MIN_S
            self._waits = True
            self._stop.wait(pause_s)
            self._waits = False
            pause_s = min(_BACKOFF_MAX_S, 2 * pause_s)

    def _failed(self, text: str, cause: Exception | None) -> None:
        self.restarts += 1
        self.last_error = text
        log.error("source %s stopped and is started again: %s", self.source.name, text)
        if cause is not None:
            log.debug("source %s", self.source.name, exc_info=cause)

    def _beat(self) -> None:
        self._beat_at = self._clock()
        if self.last_error:
            self.last_error = ""
