"""The rule tokens are counted by."""

from hypothesis import given
from hypothesis import strategies as st

from polyvox.gateway.simulator import tokens


@given(st.text(max_size=400))
def test_tokens_joined_are_the_text(text: str) -> None:
    assert "".join(tokens.split(text)) == text


@given(st.text(max_size=400).filter(str.strip))
def test_the_count_is_the_number_of_tokens(text: str) -> None:
    assert tokens.count(text) == len(tokens.split(text))


def test_words_and_punctuation_count_one_each() -> None:
    assert tokens.split("Hello, big  world!\n") == ["Hello", ",", " big", "  world", "!\n"]


def test_a_long_text_is_estimated() -> None:
    """Counting must not cost more than answering."""
    assert tokens.count("word " * 10_000) == 12_500
