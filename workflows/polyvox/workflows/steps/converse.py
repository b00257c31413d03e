"""Asks a model with mounted tools, whose calls the flow runs.

The client sees the text and the calls of its own tools. The mounted calls and their results are the
hidden transcript, which is stored and restored in the client's next request (``transcript.py``).
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from polyvox.workflows.conversation import (
    Conversation,
    Message,
    Part,
    Tool,
    ToolCall,
    ToolChoice,
    tool_result,
)
from polyvox.workflows.errors import ModelError
from polyvox.workflows.reply import Reply
from polyvox.workflows.steps.ask import Steps


@dataclass(frozen=True, slots=True)
class MountedTool:
    """A tool that the flow runs and the client does not see.

    ``answer`` gets the model's call and returns the text of the result. If it raises a ModelError,
    the model gets that as an error result.
    """

    tool: Tool
    answer: Callable[[ToolCall], Awaitable[str]]


async def converse_with(
    run: Steps[Any],
    model: str,
    conversation: Conversation,
    *,
    tools: Sequence[MountedTool],
    step: str,
    prepared: Sequence[Message],
    rounds: int,
    emit: bool,
    timeout_s: float,
) -> Reply:
    """Loop ``model`` over its mounted calls; see ``Run.converse``."""
    mounted = _by_name(tools, conversation)
    hidden = tuple(prepared)
    shown: tuple[Part, ...] = ()
    for turn in range(rounds + 1):
        last = turn == rounds
        reply = await run.ask(
            model,
            _offering(conversation, tools, last=last).then(*hidden),
            step=step,
            emit=emit,
            hidden=tuple(mounted),
            hold_calls=not last,
            restore=emit,
            timeout_s=timeout_s,
        )
        visible = [p for p in reply.parts if not _is_call_of(p, mounted)]
        shown = (*shown, *run._taken_progress(), *visible)
        calls = [call for call in reply.tool_calls if call.name in mounted]
        results = await asyncio.gather(*(_result(call, mounted[call.name]) for call in calls))
        hidden = (*hidden, reply.message, *results)
        if not calls or any(isinstance(part, ToolCall) for part in visible):
            if emit and len(hidden) > 1:
                await run._remember_transcript(hidden, shown)
            return replace(reply, parts=shown)
    raise ModelError(
        "flow_error",
        f"The model still called mounted tools ({', '.join(mounted)}) that were no longer "
        f"offered after {rounds} rounds.",
    )


def _offering(
    conversation: Conversation, tools: Sequence[MountedTool], *, last: bool
) -> Conversation:
    """Return ``conversation`` with the mounted tools, or in the last round without them."""
    offered = conversation.offering(mounted.tool for mounted in tools)
    if not last:
        return offered
    # Providers reject a history of calls if no tool is defined.
    return (
        conversation if conversation.tools else offered.with_options(tool_choice=ToolChoice("none"))
    )


def _by_name(tools: Sequence[MountedTool], conversation: Conversation) -> dict[str, MountedTool]:
    """Return the mounted tools by name. Raises ModelError("flow_error") if a name is taken."""
    mounted: dict[str, MountedTool] = {}
    own = {tool.name for tool in conversation.tools}
    for tool in tools:
        if not isinstance(tool, MountedTool):
            raise ModelError(
                "flow_error",
                f"converse() takes mounted tools, not {type(tool).__name__}. Write "
                "MountedTool(tool, answer), where answer is an async function of the call.",
            )
        name = tool.tool.name
        if name in mounted or name in own:
            whose = "another mounted tool" if name in mounted else "a tool of the client"
            raise ModelError(
                "flow_error",
                f"The mounted tool {name!r} has the same name as {whose}, so their calls cannot be "
                "distinguished. Rename it (templates have a parameter for the name).",
            )
        mounted[name] = tool
    return mounted


def _is_call_of(part: Part, mounted: Mapping[str, MountedTool]) -> bool:
    return isinstance(part, ToolCall) and part.name in mounted


async def _result(call: ToolCall, mounted: MountedTool) -> Message:
    name = call.name
    try:
        answering = mounted.answer(call)
        if not inspect.isawaitable(answering):
            raise ModelError(
                "flow_error",
                f"The function of the mounted tool {name!r} must be declared with `async def`.",
            )
        answer = await answering
        if not isinstance(answer, str):
            raise ModelError(
                "flow_error",
                f"The function of the mounted tool {name!r} returned {type(answer).__name__} "
                "instead of a text. Write json.dumps(value) for JSON.",
            )
        return tool_result(call, answer)
    except ModelError as error:
        if error.kind == "flow_error":
            raise
        return tool_result(call, f"{call.name} failed: {error.message}", is_error=True)
