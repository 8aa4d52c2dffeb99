"""The parser of query texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.port import QuerySyntaxError
from search.text_query import Attribute, Equals, Severity, Words, parse_text


def test_words_phrases_and_fields_are_told_apart() -> None:
    text = ' one  "two \\"three\\"" service:cart severity:warn attributes.a.b:"c d" resource.x:y '
    assert parse_text(text) == [
        Words("one"),
        Words('two "three"'),
        Equals("service", "cart"),
        Severity(13),
        Attribute("attributes", "a.b", "c d"),
        Attribute("resource", "x", "y"),
    ]


@pytest.mark.parametrize("text", ["12:30:45", "http://host/path", "a-b=c", "::", "key=value:x", "-x:y"])
def test_a_colon_alone_makes_no_field(text: str) -> None:
    assert parse_text(text) == [Words(text)]


def test_an_attribute_may_be_empty() -> None:
    assert parse_text('attributes.a:""') == [Attribute("attributes", "a", "")]


def test_the_message_says_what_to_do() -> None:
    with pytest.raises(QuerySyntaxError, match="There is no field 'colour'; use one of trace_id"):
        parse_text("colour:red")


def test_too_many_conditions_are_refused() -> None:
    with pytest.raises(QuerySyntaxError, match="more than 64"):
        parse_text("a " * 65)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_text(text)
    except QuerySyntaxError as error:
        assert str(error)
