"""Opening the page where there is somebody to see it."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import webbrowser


def open_page(url: str) -> bool:
    """Open the page in a graphical browser; whether it was tried. Never on a terminal without a desktop, nor in CI."""
    has_desktop = sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if not has_desktop or not sys.stdout.isatty() or os.environ.get("CI"):
        return False

    def attempt() -> None:
        with contextlib.suppress(webbrowser.Error, OSError):
            webbrowser.open(url)

    threading.Thread(target=attempt, name="browser", daemon=True).start()
    return True
