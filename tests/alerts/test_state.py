"""Alerts go from pending to firing to resolved as Prometheus' do."""

from __future__ import annotations

from alerts.rules import AlertRule
from alerts.state import RESOLVED_KEPT_S, Alert, Key, Sample, advance
from alerts.template import expand

HIGH = {"__name__": "cpu", "host": "a"}


def rule(for_s: float = 60.0, keep_s: float = 0.0) -> AlertRule:
    return AlertRule(
        "Hot", "cpu > 0.9", for_s, keep_s, {"severity": "page"}, {"summary": "{{ $labels.host }} at {{ $value }}"}
    )


def after(r: AlertRule, *steps: tuple[float, list[Sample]]) -> dict[Key, Alert]:
    alerts: dict[Key, Alert] = {}
    for now_s, samples in steps:
        alerts = advance(r, alerts, samples, now_s)
    return alerts


def states(alerts: dict[Key, Alert]) -> list[str]:
    return [alert.state for alert in alerts.values()]


def test_an_alert_is_pending_until_its_for_has_passed() -> None:
    assert states(after(rule(), (0, [(HIGH, 1.0)]), (59, [(HIGH, 1.0)]))) == ["pending"]
    assert states(after(rule(), (0, [(HIGH, 1.0)]), (60, [(HIGH, 1.0)]))) == ["firing"]


def test_without_a_for_it_fires_at_once() -> None:
    (alert,) = after(rule(for_s=0), (5, [(HIGH, 0.95)])).values()
    assert (alert.state, alert.fired_at_s) == ("firing", 5)
    assert alert.labels == {"alertname": "Hot", "host": "a", "severity": "page"}
    assert alert.annotations == {"summary": "a at 0.95"}


def test_a_pending_alert_whose_sample_goes_is_forgotten() -> None:
    assert after(rule(), (0, [(HIGH, 1.0)]), (30, [])) == {}


def test_a_firing_alert_resolves_is_kept_a_while_and_can_start_anew() -> None:
    fired: tuple[tuple[float, list[Sample]], ...] = ((0.0, [(HIGH, 1.0)]), (60.0, [(HIGH, 1.0)]))
    assert states(after(rule(), *fired, (75, []))) == ["resolved"]
    assert after(rule(), *fired, (75, []), (75 + RESOLVED_KEPT_S, [])) == {}
    assert states(after(rule(), *fired, (75, []), (90, [(HIGH, 1.0)]))) == ["pending"]


def test_keep_firing_for_bridges_a_gap() -> None:
    fired: tuple[tuple[float, list[Sample]], ...] = ((0.0, [(HIGH, 1.0)]), (60.0, [(HIGH, 1.0)]))
    assert states(after(rule(keep_s=30), *fired, (80, []))) == ["firing"]
    assert states(after(rule(keep_s=30), *fired, (80, []), (90, []))) == ["resolved"]


def test_label_sets_live_their_own_lives() -> None:
    other = {"__name__": "cpu", "host": "b"}
    alerts = after(rule(), (0, [(HIGH, 1.0)]), (60, [(HIGH, 1.0), (other, 1.0)]))
    assert sorted(states(alerts)) == ["firing", "pending"]


def test_templates_fill_what_they_know_and_leave_the_rest() -> None:
    labels = {"host": "a"}
    assert expand("{{ $labels.host }}: {{ $value | humanizePercentage }}", labels, 0.1234) == "a: 12.34%"
    assert (
        expand("{{ $value | humanize1024 }}B for {{ .Value | humanizeDuration }}", labels, 5400)
        == "5.273kiB for 1h 30m 0s"
    )
    assert expand("{{ $labels.none }}|{{ range query }}", labels, 1) == "|{{ range query }}"
    assert expand("{{ $value }}", labels, float("inf")) == "+Inf"
