"""The coverage table says what the renderers do: every row is tried with a real request."""

from pathlib import Path

import orjson
import pytest

from polyvox.protocols.coverage.answer_losses import answer_losses
from polyvox.protocols.coverage.losses import opaque_losses
from polyvox.protocols.coverage.page import page
from polyvox.protocols.coverage.row import Fate, Row
from polyvox.protocols.provider_side import Rendered
from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.conversation import Json, Protocol, Wire
from polyvox.workflows.errors import ModelError
from polyvox.workflows.events import fold
from tests.crossing.answers import ANSWERS
from tests.crossing.elements import ELEMENTS
from tests.crossing.examples import BASE, REQUESTS, TOOLS, request
from tests.crossing.passages import (
    CREATED,
    RUN_ID,
    as_stream,
    asked,
    decode,
    encode,
    others,
)

MODELS: dict[Protocol, str] = {
    # Each takes all there is, but sampling, which OpenAI's newest thinking models refuse.
    "chat": "gpt-5.6",
    "responses": "gpt-5.6",
    "messages": "claude-opus-4-6",
}
SAMPLED = "any-model"
"""A model of no vendor: it takes all that servers of the protocol usually take."""

CASES = [
    pytest.param(protocol, row, over, id=f"{protocol}-{over}-{row.place}-{row.field}")
    for protocol in PROTOCOLS
    for row in PROTOCOLS[protocol].neutral.rows
    if row.place != "answer"
    for over in others(protocol)
]


def crossed(protocol: Protocol, body: Json, over: Protocol, row: Row) -> Rendered:
    ask = PROTOCOLS[protocol].parser.parse(body, {})
    sampling = row.field in ("temperature", "top_p", "top_k", "stop_sequences")
    return PROTOCOLS[over].provider.render(ask.conversation, SAMPLED if sampling else MODELS[over])


@pytest.mark.parametrize(("protocol", "row", "over"), CASES)
def test_every_row_tells_the_truth(protocol: Protocol, row: Row, over: Protocol) -> None:
    """Mapped is there under its new name, idle and mapped lose nothing, the rest is named."""
    body = request(protocol, row.place, row.field)
    fate = row.over[over]
    if fate.outcome == "refused":
        with pytest.raises(ModelError) as caught:
            crossed(protocol, body, over, row)
        assert (caught.value.kind, caught.value.http_status) == ("unsupported", 400)
        return
    rendered = crossed(protocol, body, over, row)
    if fate.outcome == "lost":
        assert _named(row, rendered.losses), rendered.losses
        return
    assert not _named(row, rendered.losses)
    if fate.outcome == "mapped":
        assert _holds(rendered.body, fate), orjson.dumps(rendered.body)


ANSWER_CASES = [
    pytest.param(protocol, row, to, id=f"{protocol}-{to}-{row.field}")
    for protocol in PROTOCOLS
    for row in PROTOCOLS[protocol].neutral.rows
    if row.place == "answer"
    for to in others(protocol)
]


@pytest.mark.parametrize(("protocol", "row", "to"), ANSWER_CASES)
def test_every_row_of_an_answer_tells_the_truth(protocol: Protocol, row: Row, to: Protocol) -> None:
    """Streamed or whole: mapped is there under its new name, and what is lost is named."""
    events = decode(protocol, as_stream(protocol, ANSWERS[protocol][row.field]))
    reply = fold(events)
    losses = [loss.partition(":")[0] for loss in answer_losses(reply, to)]
    fate = row.over[to]
    name = "annotations" if row.field == "citations" else row.field
    assert (f"answer.{name}" in losses) == (fate.outcome == "lost")
    document = PROTOCOLS[to].answers.render(asked(to), reply, run_id=RUN_ID, created=CREATED)
    stream = b"".join(data for _, data in encode(asked(to), events, reply))
    if fate.outcome == "mapped":
        assert _holds(document, fate)
        assert fate.target.encode() in stream


def _named(row: Row, losses: tuple[str, ...]) -> list[str]:
    said = [loss.partition(":")[0] for loss in losses]
    if row.place == "element" and "." not in row.field:
        # A whole element is named by its type or by what it is.
        words = (row.field, row.field.replace("redacted_", "").replace("thinking", "reasoning"))
        return [loss for loss in said if loss.split(" ")[0] in words or loss in ("opaque",)]
    last = row.field.rpartition(".")[2]
    return [loss for loss in said if loss in (row.field, last)]


def _holds(body: Json, fate: Fate) -> bool:
    last = fate.target.rpartition(".")[2].encode()
    return b'"%s"' % last in orjson.dumps(body)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_row_has_an_example_and_every_example_a_row(protocol: Protocol) -> None:
    rows = {(row.place, row.field) for row in PROTOCOLS[protocol].neutral.rows}
    examples = {("answer", field) for field in ANSWERS[protocol]}
    examples |= {("request", field) for field in REQUESTS[protocol]}
    examples |= {("tool", field) for field in TOOLS[protocol]}
    examples |= {("element", field) for field in ELEMENTS[protocol]}
    assert rows == examples


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_plain_request_loses_nothing(protocol: Protocol) -> None:
    ask = PROTOCOLS[protocol].parser.parse(BASE[protocol], {})
    for over in others(protocol):
        assert PROTOCOLS[over].provider.render(ask.conversation, "any-model").losses == ()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_field_nobody_knows_is_named(protocol: Protocol) -> None:
    ask = PROTOCOLS[protocol].parser.parse({**BASE[protocol], "brand_new": {"a": 1}}, {})
    for over in others(protocol):
        assert PROTOCOLS[over].provider.render(ask.conversation, "any-model").losses == (
            "brand_new",
        )


def test_the_page_for_users_is_the_table_of_today() -> None:
    """``make docs`` writes it."""
    assert (Path(__file__).parents[2] / "docs" / "protocols.md").read_text() == page()


@pytest.mark.parametrize("odd", [{"part": "x", "type": "t"}, {"content": ["x"], "type": "t"}])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_element_of_odd_members_is_named_by_its_type(protocol: Protocol, odd: Json) -> None:
    """It is lost on the way to another protocol, and the rest goes on."""
    assert opaque_losses(Wire(protocol, odd)) == ["t: known to its own protocol only"]
