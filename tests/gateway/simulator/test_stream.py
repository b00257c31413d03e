"""The pace of a played answer, on a clock that leaps instead of waiting."""

import asyncio
import selectors
from typing import Any

import pytest

from polyvox.gateway.simulator import plan, stream
from polyvox.gateway.simulator.acting import rules
from polyvox.protocols.messages.client import request as messages
from polyvox.protocols.messages.client import response as messages_response
from polyvox.workflows.conversation import Conversation, user
from polyvox.workflows.events import fold

ASKED = {"model": "any", "max_tokens": 99, "messages": [{"role": "user", "content": "hi"}]}


class _LeapingSelector(selectors.SelectSelector):
    """Never waits: the time it is told to wait is over at once."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        self.now += timeout or 0
        return super().select(0)


class _LeapingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.clock = _LeapingSelector()
        super().__init__(self.clock)

    def time(self) -> float:
        return self.clock.now


async def _times(model: str) -> list[float]:
    """Return when each delta of an answer of ``model`` leaves, in seconds from its start."""
    planned = plan.parse(model)
    reply = rules.answer(Conversation((user("hi"),)), planned)
    encoder = messages_response.encoder(messages.parse(ASKED, {}), run_id="run", created=0)
    loop = asyncio.get_running_loop()
    frames = stream.play(reply, encoder, planned, planned.fault(0))
    return [loop.time() async for frame in frames if b"content_block_delta" in frame]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("n4", [0, 0, 0, 0]),
        ("n4-ttft200", [0.2, 0.2, 0.2, 0.2]),
        ("n4-ttft200-itl10", [0.2, 0.21, 0.22, 0.23]),
        ("n4-itl0.5-eof2", [0, 0.0005]),
    ],
)
def test_deltas_keep_the_pace_the_name_sets(model: str, expected: list[float]) -> None:
    with asyncio.Runner(loop_factory=_LeapingLoop) as runner:
        assert runner.run(_times(model)) == pytest.approx(expected)


def test_a_whole_answer_takes_as_long_as_its_stream() -> None:
    async def waited(model: str) -> float:
        planned = plan.parse(model)
        await stream.pause(rules.answer(Conversation((user("hi"),)), planned), planned)
        return asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=_LeapingLoop) as runner:
        assert runner.run(waited("n20-ttft50-itl5")) == pytest.approx(0.05 + 19 * 0.005)


def test_token_deltas_fold_back_into_the_reply() -> None:
    reply = rules.answer(Conversation((user("Is tea good?"),)), plan.parse("skeptic"))
    assert fold(stream.events(reply)) == reply
