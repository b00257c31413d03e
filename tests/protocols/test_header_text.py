"""Whatever somebody calls a thing, it can stand in a header."""

import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyvox.protocols.header_text import LONGEST_LIST, LONGEST_VALUE, header_list, header_value

VISIBLE = re.compile(r"[ -~]*")


@given(st.text(st.characters()))
def test_a_value_is_visible_ascii_and_bounded(text: str) -> None:
    value = header_value(text * 40)
    assert VISIBLE.fullmatch(value)
    assert value == value.strip()
    assert len(value) <= LONGEST_VALUE


@given(st.text(max_size=50))
def test_a_short_value_can_be_read_back(text: str) -> None:
    assert unquote(header_value(text)) == text.strip(" ")


@given(st.lists(st.text()))
def test_a_list_is_visible_ascii_and_bounded(texts: list[str]) -> None:
    value = header_list(texts * 20)
    assert VISIBLE.fullmatch(value)
    assert len(value) <= LONGEST_LIST + 40


@pytest.mark.parametrize(
    "text", ["a\r\nset-cookie: b", "a\nb", "nul\0", "\x7f", "\x1b[2J", "\udc80"]
)
def test_no_text_ends_its_header(text: str) -> None:
    assert VISIBLE.fullmatch(header_value(text))
    assert VISIBLE.fullmatch(header_list([text, text]))


def test_a_cut_value_ends_in_whole_characters() -> None:
    value = header_value("é" * 2000)
    assert value.endswith("...")
    assert set(unquote(value.removesuffix("..."))) == {"é"}


def test_a_long_list_says_how_many_it_leaves_out() -> None:
    named = [f"metadata.field_{at}" for at in range(500)]
    shown = header_list(named).split(", ")
    assert shown[:2] == named[:2]
    assert shown[-1] == f"... and {500 - len(shown) + 1} more"


def test_a_comma_in_a_name_does_not_look_like_two_names() -> None:
    assert header_list(["a,b", "c"]) == "a%2Cb, c"
