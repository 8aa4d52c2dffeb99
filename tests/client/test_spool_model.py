"""The spool under several threads and processes, and under any sequence of all this against a list."""

from __future__ import annotations

import random
import shutil
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from heliograph.errors import SpoolError, SpoolFullError, SpoolUnavailableError
from heliograph.spool import Spool, inspect
from heliograph.spool_segment import encode_frames
from tests.client.batches import attempts, sequences
from tests.client.scripts import run
from tests.client.spool_child import Child, numbered
from tests.client.spools import FRAME, MIB, Drops, Make, append, drain

# Several threads and processes


def test_threads_append_while_one_drains(make: Make) -> None:
    spool = make()
    writers = [threading.Thread(target=append, args=(spool, *range(first, first + 25))) for first in (0, 100, 200, 300)]
    for writer in writers:
        writer.start()
    numbers: list[int] = []
    while any(writer.is_alive() for writer in writers):
        numbers += drain(spool)
    numbers += drain(spool)
    assert sorted(numbers) == [n + m for n in (0, 100, 200, 300) for m in range(25)]
    for first in (0, 100, 200, 300):
        assert [n for n in numbers if first <= n < first + 25] == list(range(first, first + 25))
    assert (spool.bytes_held, spool.batches_held) == (0, 0)


def test_what_was_acknowledged_outlives_a_killed_process(tmp_path: Path, drops: Drops) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    acknowledged: list[int] = []
    for round_ in range(10):
        child = Child(tmp_path / "spool", 1_000_000 * round_)
        acknowledged += child.numbers(chance.randint(1, 60))
        acknowledged += child.kill()
        copy = shutil.copytree(tmp_path / "spool", tmp_path / f"copy {round_}")
        spool = Spool(copy, bytes_max=1 << 30, free_bytes_min=0, dropped=drops)
        spool.open()
        found = drain(spool)
        spool.close()
        assert len(found) == len(set(found)), seed
        assert found == sorted(found), seed
        assert set(acknowledged) <= set(found), seed
        assert spool.bad_segments == 0, seed
    assert not drops.numbers


def test_one_process_owns_a_folder(tmp_path: Path, drops: Drops) -> None:
    child = Child(tmp_path / "spool", 0)
    spool = Spool(tmp_path / "spool", bytes_max=1 << 30, free_bytes_min=0, dropped=drops)
    try:
        assert child.numbers(1) == [0]
        with pytest.raises(SpoolUnavailableError, match="another process uses"):
            spool.open()
        assert inspect(tmp_path / "spool")[0].batches >= 1
    finally:
        child.kill()
    spool.open()
    assert drain(spool)[0] == 0
    with pytest.raises(SpoolError, match="another process uses"):
        Spool(tmp_path / "spool", bytes_max=MIB, dropped=drops).open()
    spool.close()


def test_a_forked_child_that_forgets_leaves_its_parent_alone(tmp_path: Path) -> None:
    run(
        """
    import os, sys
    from pathlib import Path
    from heliograph.spool import Spool, SpoolUnavailableError
    from tests.client.spool_child import numbered
    def spool():
        return Spool(Path(sys.argv[1]), bytes_max=1 << 20, free_bytes_min=0, dropped=print)
    def refuses(act):
        try:
            act()
        except SpoolUnavailableError:
            return True
        return False
    parent = spool()
    parent.open()
    parent.append([numbered(0)])
    pid = os.fork()
    if pid == 0:
        alone = refuses(lambda: parent.append([numbered(1)]))
        parent.forget()
        os._exit(0 if alone and refuses(parent.oldest) and refuses(spool().open) else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert refuses(spool().open)
    parent.append([numbered(2)])
    assert len(parent.oldest().messages) == 2
    wait, go = os.pipe()
    if os.fork() == 0:  # it forgets nothing, and lives on
        os.close(go)
        os.read(wait, 1)
        os._exit(0)
    parent.close()
    spool().open()
    os.close(go)
    os.wait()
    """,
        str(tmp_path / "spool"),
    )


# Any sequence of all this, against a list


class Machine(RuleBasedStateMachine):
    """A spool of a few segments beside the list of what it must hold."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="spool-"))
        self.model: list[int] = []
        self.dropped = Drops()
        self.next = 0
        self.spool = self._opened()

    def _opened(self) -> Spool:
        spool = Spool(
            self.folder, bytes_max=12 * FRAME, segment_bytes=4 * FRAME, free_bytes_min=0, dropped=self.dropped
        )
        spool.open()
        self.inherited = set(self.folder.glob("*.seg"))
        return spool

    @rule(sizes=st.lists(st.integers(0, 300), min_size=1, max_size=6))
    def append(self, sizes: list[int]) -> None:
        numbers = range(self.next, self.next + len(sizes))
        self.next += len(sizes)
        self.dropped.numbers.clear()
        try:
            self.spool.append([numbered(n, size) for n, size in zip(numbers, sizes, strict=True)])
        except SpoolFullError:
            numbers = range(0)
        gone = self.dropped.numbers
        assert self.model[: len(gone)] == gone
        self.model = [*self.model[len(gone) :], *numbers]

    @rule()
    def look(self) -> None:
        segment = self.spool.oldest()
        found = [] if segment is None else sequences(segment.messages)
        assert self.model[: len(found)] == found
        assert bool(found) == bool(self.model)

    @precondition(lambda self: self.model)
    @rule()
    def deliver(self) -> None:
        segment = self.spool.oldest()
        assert segment is not None
        found = sequences(segment.messages)
        assert set(attempts(segment.messages)) == {1}
        assert self.model[: len(found)] == found
        self.spool.done(segment)
        del self.model[: len(found)]

    @rule(cut=st.integers(0, FRAME - 1))
    def crash(self, cut: int) -> None:
        """Every append is durable, so closing adds nothing to what a crash leaves; except half a frame."""
        self.spool.close()
        newest = max(self.folder.glob("*.seg"), default=None)
        if newest is not None and newest not in self.inherited:
            with newest.open("ab") as opened:
                opened.write(encode_frames([numbered(10**6)])[:cut])
        self.spool = self._opened()

    @invariant()
    def figures_are_true(self) -> None:
        assert self.spool.bytes_held == sum(path.stat().st_size for path in self.folder.glob("*.seg"))
        if not self.spool.segments_unread:
            assert self.spool.batches_held == len(self.model)
        assert sum(figures.batches for figures in inspect(self.folder)) == len(self.model)
        assert self.spool.bad_segments == 0

    def teardown(self) -> None:
        assert drain(self.spool) == self.model
        self.spool.close()
        shutil.rmtree(self.folder)


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
