"""That test servers end with the tests."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

_RUN = """
import sys, tempfile, time
from pathlib import Path
from tests.servers.process import Server
server = Server(["/bin/sleep", "600"], Path(tempfile.mkdtemp(prefix="heliograph-sleep-")), lambda _: True)
print(server.process.pid, server.log.parent, flush=True)
sys.stdin.read() if sys.argv[1] == "end" else time.sleep(600)
"""


def _is_there(pid: int) -> bool:
    try:
        return "(sleep) Z" not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="a server is watched by means of /proc")
@pytest.mark.parametrize("how", ["end", "kill"])
def test_a_server_ends_with_the_run_however_that_ends(how: str) -> None:
    command = [sys.executable, "-c", _RUN, how]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None and run.stdin is not None
        pid, folder = run.stdout.readline().split()
        if how == "kill":
            run.kill()
    deadline = time.monotonic() + 20
    while _is_there(int(pid)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert how == "kill" or not Path(folder).exists()
