"""Every recorded refusal, given to a client of the provider's own protocol, is what it was."""

import orjson
import pytest

from polyvox.protocols.table import PROTOCOLS
from polyvox.workflows.errors import ModelError
from tests.golden.passage import GARBLED, decoded, one_answer
from tests.golden.streams import frames
from tests.samples.recordings import Exchange, exchanges

REFUSED = [e for p in PROTOCOLS for e in exchanges(p) if e.status >= 400]
BROKEN = [e for p in PROTOCOLS for e in exchanges(p) if any(name in e.id for name in GARBLED)]


@pytest.mark.parametrize("exchange", REFUSED, ids=lambda exchange: exchange.id)
def test_a_refusal_keeps_its_status_kind_and_words(exchange: Exchange) -> None:
    """What the provider said is what the client can act on; only the run's id is added."""
    headers = {name.lower(): value for name, value in exchange.headers.items()}
    error = PROTOCOLS[exchange.protocol].provider.parse_error(
        exchange.status, headers, orjson.dumps(exchange.answer)
    )
    status, document = PROTOCOLS[exchange.protocol].answers.render_error(error, None)
    assert status == exchange.status
    assert {**document["error"], "param": document["error"].get("param")} == {
        "param": None,
        **exchange.answer["error"],
    }


@pytest.mark.parametrize("exchange", BROKEN, ids=lambda exchange: exchange.id)
def test_a_stream_that_is_no_answer_is_an_error(exchange: Exchange) -> None:
    """Never a Reply of what came before."""
    assert exchange.stream is not None
    with pytest.raises(ModelError) as refused:
        decoded(exchange.protocol, frames(one_answer(exchange.stream)))
    assert refused.value.kind in ("bad_stream", "quota")
