from __future__ import annotations

from routers.trouble import Trouble


def test_the_wait_doubles_up_to_ten_seconds_and_ends_with_a_success() -> None:
    trouble = Trouble(lambda: 100.0, lambda: 1.0)
    assert trouble.wait_s == 0.0
    waits = []
    for _ in range(8):
        trouble.failed("down")
        waits.append(round(trouble.wait_s, 6))
    assert waits == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
    trouble.over()
    assert (trouble.reason, trouble.wait_s) == ("", 0.0)


def test_jitter_spreads_over_the_whole_wait() -> None:
    trouble = Trouble(lambda: 0.0, lambda: 0.25)
    trouble.failed("down")
    assert round(trouble.wait_s, 6) == 0.05


def test_a_reason_is_news_once() -> None:
    trouble = Trouble(lambda: 0.0, lambda: 1.0)
    assert trouble.failed("down")
    assert not trouble.failed("down")
    assert trouble.failed("something else")
