"""Restart policy and order of stopping, without processes."""

from __future__ import annotations

import pytest

from ops.lifecycle import Phase, RestartPolicy, RoleLife, Shutdown, StopOrder, Verdict

POLICY = RestartPolicy()


def running(now_s: float = 0.0) -> RoleLife:
    life = RoleLife(POLICY)
    life.started(now_s)
    life.answered()
    return life


def test_a_new_role_is_due_at_once() -> None:
    assert RoleLife(POLICY).is_due(0.0)


def test_waiting_doubles_from_a_fifth_of_a_second_to_five_seconds() -> None:
    life = RoleLife(POLICY)
    waits = []
    now_s = 0.0
    for _ in range(8):
        life.started(now_s)
        assert life.exited(now_s, 1) is Verdict.RESTART
        waits.append(round(life.due_s - now_s, 3))
        now_s = life.due_s
    assert waits == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]


def test_a_role_that_ran_long_waits_short_again() -> None:
    life = RoleLife(POLICY)
    for _ in range(5):
        life.started(0.0)
        life.exited(0.0, 1)
    life.started(10.0)
    life.exited(10.0 + POLICY.stable_s, 1)
    assert life.due_s == 10.0 + POLICY.stable_s + 0.2


def test_a_role_is_not_started_before_its_time() -> None:
    life = running()
    life.exited(1.0, -9)
    assert not life.is_due(1.19)
    assert life.is_due(1.2)


def test_three_misses_in_a_row_mean_hung() -> None:
    life = running()
    assert [life.missed(is_busy=False) for _ in range(3)] == [False, False, True]


def test_a_busy_role_gets_more_time() -> None:
    life = running()
    misses = [life.missed(is_busy=True) for _ in range(POLICY.busy_misses_max)]
    assert misses == [False] * (POLICY.busy_misses_max - 1) + [True]


def test_an_answer_between_forgives_misses() -> None:
    life = running()
    assert not life.missed(is_busy=False)
    assert not life.missed(is_busy=False)
    life.answered()
    assert not life.missed(is_busy=False)


def test_a_miss_after_the_kill_kills_nothing_else() -> None:
    life = running()
    life.ending()
    assert [life.missed(is_busy=False) for _ in range(5)] == [False] * 5
    life.answered()
    assert life.phase is Phase.ENDING


def test_a_role_that_never_answers_is_overdue() -> None:
    life = RoleLife(POLICY)
    life.started(100.0)
    assert not life.is_overdue(100.0 + POLICY.start_max_s)
    assert life.is_overdue(100.1 + POLICY.start_max_s)
    life.answered()
    assert not life.is_overdue(1e9)


@pytest.mark.parametrize(
    ("is_essential", "exit_code", "verdict"),
    [
        (True, 78, Verdict.GIVE_UP),
        (False, 78, Verdict.GIVE_UP),
        (True, 69, Verdict.GIVE_UP),
        (False, 69, Verdict.RESTART),
        (True, 0, Verdict.RESTART),
    ],
)
def test_an_exit_before_it_was_ever_ready(is_essential: bool, exit_code: int, verdict: Verdict) -> None:
    life = RoleLife(POLICY, is_essential)
    life.started(0.0)
    life.answered()
    assert life.exited(0.1, exit_code) is verdict


def test_what_an_essential_role_loses_later_is_tried_for_again() -> None:
    life = RoleLife(POLICY, is_essential=True)
    life.started(0.0)
    life.answered()
    life.ready()
    assert life.exited(0.1, 69) is Verdict.RESTART


def test_restarts_are_counted() -> None:
    life = running()
    life.exited(1.0, 1)
    life.started(2.0)
    assert life.restarts == 1


ROLES = ("query", "rules", "router-tsdb", "router-search", "agent", "demo", "other")


def test_stages_are_told_one_after_the_other_as_each_ends() -> None:
    shutdown = Shutdown(ROLES, 0.0)
    left = set(ROLES)
    told = []
    for _ in range(4):
        order = shutdown.step(0.1, left)
        told.append(set(order.terminate))
        left -= told[-1]
    assert told == [{"demo"}, {"agent"}, {"router-tsdb", "router-search"}, {"query", "rules", "other"}]


def test_nobody_is_told_twice() -> None:
    shutdown = Shutdown(ROLES, 0.0)
    assert shutdown.step(0.1, ROLES) == StopOrder(terminate=("demo",))
    assert shutdown.step(0.2, ROLES) == StopOrder()


def test_a_stage_out_of_time_does_not_hold_up_the_next() -> None:
    shutdown = Shutdown(ROLES, 0.0)
    shutdown.step(0.1, ROLES)
    assert shutdown.step(1.6, ROLES) == StopOrder(terminate=("agent",))


def test_whoever_is_left_after_ten_seconds_is_killed() -> None:
    shutdown = Shutdown(ROLES, 50.0)
    shutdown.step(50.0, ROLES)
    assert shutdown.step(60.0, ("query", "agent")) == StopOrder(kill=("query", "agent"))
