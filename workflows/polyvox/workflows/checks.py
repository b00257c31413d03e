"""Checks of a Reply, with complaints that a model can correct its answer by.

A check is called with the run and the Reply and returns complaints. The Reply passes if there are
none.
"""

import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from polyvox.workflows.conversation import (
    Conversation,
    Json,
    Message,
    OutputFormat,
    Text,
    Tool,
    ToolCall,
    tool_result,
    user,
)
from polyvox.workflows.errors import ModelError
from polyvox.workflows.reply import Reply
from polyvox.workflows.steps.ask import Steps

MOST_COMPLAINTS = 10
"""The number of complaints sent to a model at once; later ones often follow from the first."""

REPAIR_PROMPT = (
    "Your last answer was checked and did not pass:\n{complaints}\n\n"
    "Answer again, completely, with these points mended. Do not mention the check."
)

VERIFIER_PROMPT = (
    "You check an answer before it is sent. Judge only whether it is correct, complete and does "
    "what was asked. List what must be mended, each point so that its author can mend it without "
    "asking back. Matters of taste are no complaints. If nothing must be mended, it has passed."
)

_VERDICT = {
    "type": "object",
    "properties": {
        "passed": {"type": "boolean"},
        "complaints": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["passed", "complaints"],
    "additionalProperties": False,
}


class Check(Protocol):
    """A callable that checks a Reply and returns complaints about it."""

    def __call__(self, run: Steps[Any], reply: Reply, /) -> Awaitable[Sequence[str]]: ...


@dataclass(frozen=True, slots=True)
class Checked:
    """A Reply and the complaints that remain after ``rounds`` repairs."""

    reply: Reply
    complaints: tuple[str, ...] = ()
    rounds: int = 0

    @property
    def passed(self) -> bool:
        return not self.complaints


@dataclass(frozen=True, slots=True)
class FollowsSchema:
    """Check that the text is JSON that matches ``schema``; a Reply that calls tools passes."""

    schema: Json

    async def __call__(self, run: Steps[Any], reply: Reply, /) -> Sequence[str]:
        if reply.tool_calls:
            return ()
        return schema_complaints(reply.text, self.schema, "The answer")


@dataclass(frozen=True, slots=True)
class FitsTools:
    """Check that every call names one of ``tools`` and matches its schema.

    Without ``tools`` the client's tools are used.
    """

    tools: tuple[Tool, ...] = ()

    async def __call__(self, run: Steps[Any], reply: Reply, /) -> Sequence[str]:
        tools = {tool.name: tool for tool in self.tools or run.conversation.tools}
        return [text for call in reply.tool_calls for text in _call_complaints(call, tools)]


@dataclass(frozen=True, slots=True)
class Satisfies:
    """Check with ``predicate``, which returns one complaint, several, or None for a Reply."""

    predicate: Callable[[Reply], str | Iterable[str] | None]

    async def __call__(self, run: Steps[Any], reply: Reply, /) -> Sequence[str]:
        found = self.predicate(reply)
        return [found] if isinstance(found, str) and found else [*(found or ())]


@dataclass(frozen=True, slots=True)
class Verified:
    """Check by asking ``model`` to judge the answer; ``prompt`` is its instruction.

    A Reply that calls tools is not finished and passes. If the verifier fails or its verdict cannot
    be parsed, the Reply passes and the run gets a note.
    """

    model: str
    prompt: str = VERIFIER_PROMPT
    step: str = "verify"
    timeout_s: float = 300.0

    async def __call__(self, run: Steps[Any], reply: Reply, /) -> Sequence[str]:
        if reply.tool_calls:
            return ()
        asked = Conversation(
            (user(f"{transcribed(run.conversation)}\n\n<answer>\n{reply.text}\n</answer>"),),
            system=Message("system", (Text(self.prompt),)),
        ).with_options(format=OutputFormat("json_schema", _VERDICT, "verdict", strict=True))
        try:
            answer = await run.ask(self.model, asked, step=self.step, timeout_s=self.timeout_s)
        except ModelError as error:
            run.note("verifier failed", step=self.step, kind=error.kind, message=error.message)
            return ()
        return _verdict(run, answer.text, self.step)


async def complaints_about(
    run: Steps[Any], reply: Reply, checks: Sequence[Check]
) -> tuple[str, ...]:
    """Return the complaints of all ``checks`` in their order; see ``Run.check``."""
    found: list[str] = []
    for one in checks:
        found += await one(run, reply)
    return tuple(dict.fromkeys(found))


async def repaired(
    run: Steps[Any],
    model: str,
    reply: Reply,
    checks: Sequence[Check],
    *,
    conversation: Conversation,
    step: str,
    rounds: int,
    prompt: str,
    timeout_s: float,
) -> Checked:
    """Ask ``model`` again until ``checks`` pass; see ``Run.repair``."""
    complaints = await complaints_about(run, reply, checks)
    for done in range(rounds):
        if not complaints:
            return Checked(reply, (), done)
        run.note("check failed", step=step, complaints=list(complaints))
        again = _with_complaints(conversation, reply, complaints[:MOST_COMPLAINTS], prompt)
        reply = await run.ask(model, again, step=step, timeout_s=timeout_s)
        complaints = await complaints_about(run, reply, checks)
    if complaints:
        run.note("check failed", step=step, complaints=list(complaints))
    return Checked(reply, complaints, rounds)


def schema_complaints(text: str, schema: Json, what: str) -> list[str]:
    """Return why ``text`` is not JSON that matches ``schema``; ``what`` names it in complaints.

    Raises ModelError("flow_error") if the schema is invalid or refers to another document.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        return [f"{what} is not JSON: {error}."]
    # Imported here because it takes 0.1 s, which the command line would spend at every start.
    from polyvox.workflows.steps.json_schema import violations  # noqa: PLC0415

    return [f"{what}, at {violation}" for violation in violations(value, schema)]


def transcribed(conversation: Conversation, most: int = 40_000) -> str:
    """Return the last ``most`` characters of ``conversation`` as text, for a model to judge."""
    lines = [
        f'<message role="{message.role}">\n{text}\n</message>'
        for message in conversation.messages
        if (text := _message_text(message))
    ]
    joined = "\n".join(lines)
    return f"<conversation>\n{joined[-most:]}\n</conversation>"


def _message_text(message: Message) -> str:
    calls = [f"calls {p.name} with {p.arguments}" for p in message.parts if isinstance(p, ToolCall)]
    results = [
        p for p in message.parts if not isinstance(p, Text | ToolCall) and hasattr(p, "parts")
    ]
    texts = [t.text for r in results for t in r.parts if isinstance(t, Text)]
    return "\n".join(filter(None, [message.text.strip(), *calls, *texts]))


def _call_complaints(call: ToolCall, tools: dict[str, Tool]) -> list[str]:
    tool = tools.get(call.name)
    if tool is None:
        return [f"There is no tool {call.name!r}; there are: {', '.join(tools) or 'none'}."]
    if call.kind == "custom" or not isinstance(tool.parameters, dict):
        return []
    what = f"The arguments of {call.name!r}"
    try:
        return schema_complaints(call.arguments or "{}", tool.parameters, what)
    except ModelError:
        # The client's schema is left to its provider to accept or reject.
        return []


def _verdict(run: Steps[Any], text: str, step: str) -> list[str]:
    try:
        verdict = json.loads(text)
        passed, complaints = verdict["passed"], [str(line) for line in verdict["complaints"]]
    except (ValueError, TypeError, KeyError):
        run.note("verifier not understood", step=step, said=text[:500])
        return []
    if passed:
        return []
    return complaints or ["The verifier did not accept the answer and gave no reason."]


def _with_complaints(
    conversation: Conversation, reply: Reply, complaints: Sequence[str], prompt: str
) -> Conversation:
    """Return ``conversation`` with the answer and the complaints appended."""
    listed = "\n".join(f"- {complaint}" for complaint in complaints)
    # Providers reject a conversation in which a call has no result.
    results = [
        tool_result(call, "Not run: the call did not pass a check.", is_error=True)
        for call in reply.tool_calls
    ]
    return conversation.then(reply.message, *results, user(prompt.format(complaints=listed)))
