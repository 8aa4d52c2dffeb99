"""Slots of a data directory: one process each, the same id after a restart."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ops.data_dir import held
from ops.errors import UnavailableError
from ops.instance import claim_free, claim_supervised


def claimed_elsewhere(root: Path, role: str) -> tuple[str, str]:
    """Name and id that another process gets, which then ends."""
    code = (
        "import sys, pathlib; from ops.instance import claim_free;"
        " i = claim_free(pathlib.Path(sys.argv[1]), sys.argv[2]); print(i.name, i.id)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(root), role], capture_output=True, text=True, check=True)
    name, id_ = done.stdout.split()
    return name, id_


def test_processes_beside_each_other_get_slots_of_their_own(tmp_path: Path) -> None:
    first, second = claim_free(tmp_path, "router-tsdb"), claim_free(tmp_path, "router-tsdb")
    assert (first.name, second.name) == ("router-tsdb", "router-tsdb-1")
    assert first.id != second.id
    assert claimed_elsewhere(tmp_path, "router-tsdb")[0] == "router-tsdb-2"
    assert claim_free(tmp_path, "router-search").name == "router-search"


def test_a_restarted_process_has_the_id_that_it_had(tmp_path: Path) -> None:
    before = claimed_elsewhere(tmp_path, "agent")
    assert claimed_elsewhere(tmp_path, "agent") == before
    assert len(before[1]) == 32


def test_a_damaged_id_is_replaced(tmp_path: Path) -> None:
    name, before = claimed_elsewhere(tmp_path, "agent")
    (tmp_path / "instances" / name).write_text("torn")
    again = claimed_elsewhere(tmp_path, "agent")[1]
    assert again != before and len(again) == 32
    assert claimed_elsewhere(tmp_path, "agent")[1] == again


def test_the_slot_of_up_is_left_to_it_while_it_runs(tmp_path: Path) -> None:
    with held(tmp_path):
        assert claim_free(tmp_path, "query").name == "query-1"
        assert claim_supervised(tmp_path, "query").name == "query"
    assert claim_free(tmp_path, "rules").name == "rules"


def test_a_slot_in_use_is_said_in_a_sentence(tmp_path: Path) -> None:
    taken = claim_free(tmp_path, "agent")
    with pytest.raises(UnavailableError, match="another agent runs"):
        claim_supervised(tmp_path, "agent", patience_s=0.0)
    os.close(taken._lock)
    assert claim_supervised(tmp_path, "agent", patience_s=0.0).id == taken.id
