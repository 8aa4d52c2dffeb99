from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from collectors.file_follow import GRACE_DELETED_S, GRACE_RENAMED_S, FollowConfig, Follower


def follower(folder: Path, files_max: int = 10) -> Follower:
    return Follower([FollowConfig(str(folder / "*.log"))], [], files_max)


def read_all(found: Follower, now_s: float) -> list[str]:
    cuts = [tail.read(now_s) for tail in found.tails.values()]
    return [line.text for cut in cuts if cut is not None for line in cut.lines]


def test_no_more_files_than_allowed_are_opened_and_the_others_are_told(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.log").write_text("x\n")
    found = follower(tmp_path, files_max=2)
    found.look(0, 0)
    assert len(found.tails) == 2
    assert found.refused == {str(tmp_path / "c.log"): "more than 2 files are followed already"}
    found.close()


def held_until(tmp_path: Path, rotate: Callable[[Path], object]) -> float:
    path = tmp_path / "a.log"
    path.write_text("x\n")
    found = follower(tmp_path)
    found.look(0, 0)
    now = 0.0
    with path.open("a") as writer:
        rotate(path)
        found.check(now, 0)
        writer.write("late\n")
        writer.flush()
        assert read_all(found, now) == ["x", "late"]
        while found.tails:
            now += 1
            found.check(now, 0)
    return now


def test_a_renamed_file_is_held_for_its_writer_until_it_has_rested(tmp_path: Path) -> None:
    assert held_until(tmp_path, lambda path: path.rename(path.with_suffix(".old"))) == GRACE_RENAMED_S


def test_a_deleted_file_is_read_to_its_end_and_held_for_a_short_time(tmp_path: Path) -> None:
    assert held_until(tmp_path, Path.unlink) == GRACE_DELETED_S


def test_a_file_with_two_names_is_followed_once(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("x\n")
    (tmp_path / "b.log").symlink_to("a.log")
    (tmp_path / "c.log").hardlink_to(tmp_path / "a.log")
    found = follower(tmp_path)
    found.look(0, 0)
    assert read_all(found, 0) == ["x"]
    found.close()


def test_compressed_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "a.log.gz").write_bytes(b"\x1f\x8b")
    found = Follower([FollowConfig(str(tmp_path / "*"))], [])
    found.look(0, 0)
    assert not found.tails
    found.close()
