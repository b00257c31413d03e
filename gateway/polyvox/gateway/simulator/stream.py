"""Stream a Reply as protocol frames at the plan's pace and with its fault.

Deltas are timed from the start of the stream, so that encoding time does not add up. A fault that
is due after more deltas than the answer has occurs at its end, before the protocol's own ending.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from polyvox.gateway.simulator import logprobs, tokens
from polyvox.gateway.simulator.plan import Fault, Plan
from polyvox.protocols.client_side import Encoder
from polyvox.workflows.conversation import Protocol, Text
from polyvox.workflows.errors import ModelError
from polyvox.workflows.events import Event, PartDelta, PartStarted, Started, unfold
from polyvox.workflows.reply import Reply, Usage

GARBAGE = b'data: {"simulated": garbage\n\n<html>\xff\xfe\x00</html>\n\n'
"""Neither JSON nor UTF-8: what a broken proxy may put into a stream."""


class Cut(Exception):
    """Raised where the connection must be closed, in the middle of the answer."""


@dataclass(frozen=True, slots=True)
class TokenValues:
    """How many alternatives the log probabilities of each token have, and their protocol."""

    protocol: Protocol
    top: int


def events(reply: Reply, values: TokenValues | None = None) -> Iterator[Event]:
    """Return the events of ``reply`` with one delta for each token, with its ``values`` if the
    part is a text."""
    in_text = False
    for event in unfold(reply):
        match event:
            case PartDelta(text):
                for token in tokens.split(text):
                    if values and in_text:
                        yield logprobs.delta(token, values.protocol, values.top)
                    else:
                        yield PartDelta(token)
            case PartStarted(part):
                in_text = isinstance(part, Text)
                yield event
            case Started(model):
                yield Started(model, Usage(input=reply.usage.input))
            case _:
                yield event


async def play(
    reply: Reply,
    encoder: Encoder,
    plan: Plan,
    fault: Fault | None,
    values: TokenValues | None = None,
) -> AsyncIterator[bytes]:
    """Yield the frames of ``reply``. Raises Cut where the connection must be closed."""
    deltas = 0
    loop = asyncio.get_running_loop()
    start = loop.time() + plan.ttft_s
    await asyncio.sleep(plan.ttft_s)
    for event in events(reply, values):
        if isinstance(event, PartDelta):
            if fault and fault.at <= deltas:
                break
            # Even without a delay, other tasks get to run between two deltas.
            await asyncio.sleep(max(start + deltas * plan.itl_s - loop.time(), 0))
            deltas += 1
        yield encoder.feed(event)
    match fault:
        case None:
            yield encoder.finish(reply)
        case Fault("cut"):
            raise Cut
        case Fault("stall"):
            await asyncio.Event().wait()
        case Fault("garbage"):
            yield GARBAGE
        case Fault("errevent"):
            yield encoder.fail(failure(fault))
        case _:
            return


async def pause(reply: Reply, plan: Plan) -> None:
    """Wait as long as the stream of ``reply`` would take."""
    deltas = sum(isinstance(event, PartDelta) for event in events(reply))
    await asyncio.sleep(plan.ttft_s + max(deltas - 1, 0) * plan.itl_s)


def failure(fault: Fault) -> ModelError:
    """Return the error an ``errevent`` fault reports."""
    return ModelError(
        "overloaded", f"Simulated error after {fault.at} deltas; the model name asks for it."
    )
