"""The arguments of a call, received in pieces."""

import pytest

from polyvox.protocols.decoding.arguments import Arguments, is_json


@pytest.mark.parametrize(
    ("pieces", "texts", "rest"),
    [
        (["{", '"a"', ":1}"], ["", '{"a"', ":1}"], ""),
        (["{}"], [""], ""),
        (["{", "}", '{"a":1}'], ["", "", '{"a":1}'], ""),
        (["{}{}", '{"a"', ":1}"], ["", '{"a"', ":1}"], ""),
        (['{"a":1}', ' {"b"', ":2}"], ['{"a":1}', " ", ""], '{"b":2}'),
        (['{"a":1}}'], ['{"a":1}}'], ""),
        (['{"a":"}{"}'], ['{"a":"}{"}'], ""),
        (['{"a":"\\', '"}{"}'], ['{"a":"\\', '"}{"}'], ""),
        (["[1]", "{}"], ["[1]", "{}"], ""),
        (['"{}"', "{}"], ['"{}"', "{}"], ""),
    ],
)
def test_objects_in_one_text_are_told_apart(pieces: list[str], texts: list[str], rest: str) -> None:
    """Wherever the text is cut; an empty object waits for what follows it."""
    arguments = Arguments()
    assert [arguments.feed(piece) for piece in pieces] == texts
    assert arguments.rest == rest
    assert arguments.text == "".join(texts)


def test_what_is_held_back_is_released_at_the_end() -> None:
    arguments = Arguments()
    assert arguments.feed(" { }") == ""
    assert arguments.is_whole()
    assert arguments.release() == arguments.text == " { }"


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ('{"a":1}', True),
        ('{"a":"\\ud83d"}', True),
        ('{"a":1e400}', True),
        ('{"a":' + "1" * 5000 + "}", True),
        ("[1]", True),
        ('{"a":NaN}', False),
        ('{"a":1', False),
        ('{"a":1}{"a":1}', False),
        ("[" * 100_000, False),
    ],
)
def test_json_is_recognised_beyond_what_orjson_reads(text: str, valid: bool) -> None:
    assert is_json(text) == valid
