"""Signals as calls from a thread, where locks may be taken: a handler runs within whatever the main thread was doing."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterable


def on_signals(numbers: Iterable[signal.Signals], told: Callable[[int], None]) -> None:
    """Call `told` with the number of each signal that comes from now on. From the main thread only."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def handler(number: int, frame: object) -> None:
        # A full pipe has told enough.
        with contextlib.suppress(BlockingIOError):
            os.write(writer, bytes([number]))

    def listen() -> None:
        while True:
            for number in os.read(reader, 16):
                told(number)

    threading.Thread(target=listen, name="signals", daemon=True).start()
    for number in numbers:
        signal.signal(number, handler)
