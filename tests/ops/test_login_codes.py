"""Login codes: once, for five minutes, and never in the clear on disk."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from ops.data_dir import prepare
from ops.login_codes import LIFETIME_S, LoginCodes


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def codes(tmp_path: Path, clock: Clock) -> LoginCodes:
    prepare(tmp_path)
    return LoginCodes(tmp_path, clock)


def test_a_code_is_good_once(codes: LoginCodes) -> None:
    code = codes.mint()
    assert codes.redeem(code)
    assert not codes.redeem(code)


def test_a_code_is_good_for_five_minutes(codes: LoginCodes, clock: Clock) -> None:
    early, late = codes.mint(), codes.mint()
    clock.now_s += LIFETIME_S - 1
    assert codes.redeem(early)
    clock.now_s += 1
    assert not codes.redeem(late)


def test_a_clock_set_back_does_not_lengthen_a_code(codes: LoginCodes, clock: Clock) -> None:
    code = codes.mint()
    clock.now_s -= 3600
    assert not codes.redeem(code)


def test_another_process_can_redeem(codes: LoginCodes, tmp_path: Path, clock: Clock) -> None:
    assert LoginCodes(tmp_path, clock).redeem(codes.mint())


def test_the_code_itself_is_not_on_disk(codes: LoginCodes, tmp_path: Path) -> None:
    code = codes.mint()
    for path in (tmp_path / "run").iterdir():
        assert code not in path.read_text()
        assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("code", ["", "x", "x" * 10_000, "\ud800"])
def test_rubbish_is_not_a_code(codes: LoginCodes, code: str) -> None:
    codes.mint()
    assert not codes.redeem(code)


def test_a_damaged_file_lets_nobody_in(codes: LoginCodes, tmp_path: Path) -> None:
    code = codes.mint()
    (tmp_path / "run" / "login_codes.json").write_text("{")
    assert not codes.redeem(code)
    assert codes.redeem(codes.mint())


def test_of_many_who_redeem_at_once_one_is_let_in(codes: LoginCodes) -> None:
    code = codes.mint()
    let_in: list[bool] = []
    threads = [threading.Thread(target=lambda: let_in.append(codes.redeem(code))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(let_in) == [False] * 7 + [True]


def test_the_file_stays_small(codes: LoginCodes, clock: Clock) -> None:
    minted = []
    for _ in range(105):
        clock.now_s += 1
        minted.append(codes.mint())
    assert not codes.redeem(minted[0])
    assert codes.redeem(minted[-1])
