"""The limits within which somebody else's JSON is read."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyvox.protocols.bounded_json import MOST_LEVELS, MOST_VALUES, parse_json

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(values)
def test_what_is_within_the_limits_is_read_as_it_stands(value: object) -> None:
    text = orjson.dumps(value)
    assert parse_json(text) == parse_json(text.decode()) == value


@pytest.mark.parametrize(
    ("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]")]
)
def test_a_document_nested_too_deep_is_refused(opening: bytes, closing: bytes) -> None:
    """It could be read, but never be written again."""
    levels = MOST_LEVELS // len(closing)
    deepest = opening * levels + b"1" + closing * levels
    orjson.dumps(parse_json(deepest))
    for more in (1, 200, 5000):
        with pytest.raises(orjson.JSONDecodeError):
            parse_json(b"[" * more + deepest + b"]" * more)


def test_a_document_of_too_many_values_is_refused() -> None:
    """Each of them takes far more memory than its text."""
    with pytest.raises(orjson.JSONDecodeError):
        parse_json(b"[" + b"[]," * (MOST_VALUES + 1) + b"1]")


def test_brackets_in_words_are_no_levels() -> None:
    text = orjson.dumps({"code": "[{(" * 1000})
    assert parse_json(text) == {"code": "[{(" * 1000}
