"""What a person sees and does on the page, in Chromium."""

from __future__ import annotations

import hashlib
import re
from importlib import resources

import pytest
from playwright.sync_api import Page, expect

from .conftest import HOSTILE, TRACE


@pytest.fixture(autouse=True)
def fresh(page: Page, address: str) -> list[str]:
    """Each test starts at the plain page; the list takes what the console complains of."""
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{address}/")
    return errors


def test_the_page_shows_what_flows_a_chart_logs_and_traces(page: Page, fresh: list[str]) -> None:
    expect(page.get_by_test_id("store-search").locator("b")).to_have_text(re.compile(r"^\d"), timeout=10_000)
    expect(page.get_by_test_id("chart").locator("canvas")).to_be_visible()
    expect(page.get_by_test_id("chart")).to_contain_text("2 series")
    expect(page.get_by_test_id("log-row")).to_have_count(5)
    expect(page.get_by_test_id("trace-row")).to_contain_text("GET /order")
    assert fresh == []


def test_a_trace_opens_as_a_waterfall_and_the_url_keeps_it(page: Page, address: str) -> None:
    page.get_by_test_id("trace-row").first.click()
    expect(page.get_by_test_id("span")).to_have_text(["shop: GET /order", "shop: reserve", "shop: charge"])
    assert page.url == f"{address}/?trace={TRACE}"
    page.reload()
    expect(page.get_by_test_id("span")).to_have_count(3)
    page.go_back()
    expect(page.get_by_test_id("trace-row")).to_be_visible()


def test_logs_are_filtered_opened_and_lead_to_their_trace(page: Page) -> None:
    page.get_by_test_id("service").fill("stock")
    page.get_by_test_id("service").press("Enter")
    expect(page.get_by_test_id("log-row")).to_have_count(2)
    page.get_by_test_id("log-row").first.click()
    expect(page.get_by_test_id("logs").locator("pre")).to_contain_text('"order": 3')
    page.get_by_test_id("to-trace").click()
    expect(page.get_by_test_id("waterfall")).to_be_visible()


def test_a_mistake_is_answered_with_a_sentence(page: Page) -> None:
    page.get_by_test_id("expr").fill("sum(")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_test_id("chart").get_by_role("alert")).to_contain_text("parse error")
    page.get_by_test_id("text").fill("(")
    page.get_by_test_id("text").press("Enter")
    expect(page.get_by_test_id("logs").get_by_role("alert")).to_contain_text("parenthesis")


def test_what_logs_say_is_text_and_never_markup(page: Page) -> None:
    expect(page.get_by_test_id("log-row").first).to_contain_text(HOSTILE)
    assert page.title() == "Heliograph"


def test_without_a_session_the_page_says_how_to_enter(page: Page, address: str) -> None:
    visitor = page.context.browser.new_context() if page.context.browser else None
    assert visitor is not None
    stranger = visitor.new_page()
    answer = stranger.goto(address)
    assert answer is not None and answer.status == 401
    expect(stranger.locator("body")).to_contain_text("heliograph up")
    visitor.close()


def test_vendored_files_are_those_of_their_manifest() -> None:
    vendor = resources.files("web") / "static" / "vendor"
    lines = (vendor / "SHA256SUMS").read_text().splitlines()
    listed = {line.split("  ")[1]: line.split("  ")[0] for line in lines}
    present = {entry.name for entry in vendor.iterdir()} - {"SHA256SUMS"}
    assert present == set(listed)
    for name, digest in listed.items():
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == digest, name
