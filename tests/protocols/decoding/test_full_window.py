"""An ending that reports a full context window is a cut answer, or a prompt that is too long."""

import pytest

from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.conversation import Protocol
from polyvox.workflows.errors import ModelError
from tests.protocols.decoding.test_ending import FORMS, answer
from tests.protocols.provider_failures.test_too_long import check_for_clients
from tests.samples.provider_answers import frames, replied

WORDS = ("model_context_window_exceeded", "MODEL_LENGTH", "context_length_exceeded")

each = pytest.mark.parametrize(
    ("protocol", "form", "word"), [(p, f, w) for p in PROTOCOLS for f in FORMS for w in WORDS]
)


@each
def test_without_content_the_prompt_is_too_long(protocol: Protocol, form: str, word: str) -> None:
    """An agent shortens its conversation for this error, and repeats an empty answer for ever."""
    for text in ("", " \n"):
        with pytest.raises(ModelError) as caught:
            answer(protocol, form, text, reason=word)
        assert word in caught.value.message
        assert not caught.value.fault.retryable
        check_for_clients(caught.value)


@each
def test_with_content_the_answer_was_cut(protocol: Protocol, form: str, word: str) -> None:
    """The client has something to continue."""
    reply = answer(protocol, form, "Hi", reason=word)
    assert (reply.text, reply.finish) == ("Hi", "length")
    cut = answer(protocol, form, calls=(("c", "f", '{"a":1}'),), reason=word)
    assert cut.finish == "length"


def test_thoughts_alone_are_not_an_answer() -> None:
    """The model filled its window while it was thinking."""
    delta = {"reasoning_content": "Hm"}
    choices = [
        {"index": 0, "delta": delta, "finish_reason": None},
        {"index": 0, "delta": {}, "finish_reason": "model_context_window_exceeded"},
    ]
    said = frames(*({"model": "m", "choices": [choice]} for choice in choices))
    with pytest.raises(ModelError) as caught:
        replied("chat", [*said, (None, b"[DONE]")])
    assert caught.value.kind == "context_length"
