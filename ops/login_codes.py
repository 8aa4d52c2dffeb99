"""Single-use login codes: `up` prints one, the query service exchanges it once for a session. Only hashes are kept."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ops.data_dir import read_json, write_json

LIFETIME_S: Final = 300.0
_CODES_MAX: Final = 100
_CODE_LENGTH_MAX: Final = 200


class LoginCodes:
    """The codes of one data directory, `D/run/login_codes.json`; safe for many processes and threads."""

    def __init__(self, data_dir: Path, clock_s: Callable[[], float]) -> None:
        """`clock_s` is wall-clock time, for it is compared between processes."""
        self._path = data_dir / "run" / "login_codes.json"
        self._clock_s = clock_s

    def mint(self) -> str:
        """A new code that is good once, for LIFETIME_S. Raises OSError."""
        code = secrets.token_urlsafe(24)
        with self._locked():
            codes = self._good()
            for oldest in sorted(codes, key=codes.__getitem__)[: max(0, len(codes) - _CODES_MAX + 1)]:
                del codes[oldest]
            codes[_digest(code)] = self._clock_s() + LIFETIME_S
            write_json(self._path, codes)
        return code

    def redeem(self, code: str) -> bool:
        """Whether the code was good; it is not any more. Raises OSError when that cannot be written down."""
        if not code or len(code) > _CODE_LENGTH_MAX:
            return False
        with self._locked():
            # A digest is looked up, so how long the look-up takes says nothing about any code.
            codes = self._good()
            if codes.pop(_digest(code), None) is None:
                return False
            write_json(self._path, codes)
        return True

    def _good(self) -> dict[str, float]:
        now_s = self._clock_s()
        return {
            digest: float(expires)
            for digest, expires in read_json(self._path).items()
            if isinstance(expires, int | float) and now_s < expires <= now_s + LIFETIME_S
        }

    @contextmanager
    def _locked(self) -> Iterator[None]:
        handle = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode(errors="replace")).hexdigest()
