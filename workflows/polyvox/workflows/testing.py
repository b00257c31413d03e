"""Rehearsal, which runs a flow in tests with scripted models, in memory and without waiting.

It uses its own RunBackend (see ``boundary/backend.py``) and otherwise the production code: the same
Run, hidden transcripts and memories. Time is virtual: it stands still while the flow computes, and
jumps to the next due event when all tasks wait. A time limit of an hour is therefore tested
immediately and with the same result every time.
"""

import asyncio
import json
import selectors
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from polyvox.workflows.boundary.backend import (
    CALL_MODEL,
    RECALL,
    REMEMBER,
    REMEMBER_TRANSCRIPT,
    RUN_TOOL,
    SHOW,
    ActivityCall,
)
from polyvox.workflows.boundary.calls import (
    ConversationRef,
    HiddenTurn,
    Limits,
    Memo,
    ModelCall,
    ProgressPart,
    RunInput,
    ToolUse,
    resolve,
)
from polyvox.workflows.conversation import Conversation, Json, Message, Part, Text, ToolCall, user
from polyvox.workflows.errors import ModelError
from polyvox.workflows.flow import Flow, reply_from
from polyvox.workflows.reply import Reply, Usage
from polyvox.workflows.run import Run
from polyvox.workflows.steps.transcript import assistant_turns, reply_key, restore

_BASE = "the client's conversation"
_FOREVER = "The flow waits for something that can never happen: no step is in progress."


@dataclass(frozen=True, slots=True)
class After:
    """An ``answer`` that comes after ``seconds``, from a slow model or a slow approver."""

    seconds: float
    answer: Any


Answer = str | Reply | ToolCall | ModelError | After | Callable[[Conversation], Any]
"""A model's answer: a text, a whole Reply, a tool call, an error, or a function that gets the
conversation and returns one of these."""

Script = Answer | Sequence[Answer]
"""One answer for every call, or a sequence with one answer for each call."""

Tools = Mapping[str, Callable[[Mapping[str, Json]], Json]]


@dataclass(frozen=True, slots=True)
class Step:
    """One model call of the run: exactly one of ``reply`` and ``error`` is set.

    ``conversation`` is what the model would have received. Times are seconds since the run's start.
    """

    name: str
    model: str
    conversation: Conversation
    emit: bool
    began_s: float
    ended_s: float
    reply: Reply | None = None
    error: ModelError | None = None


@dataclass(frozen=True, slots=True)
class Played:
    """The result of a run. ``shown`` are the parts that were streamed to the client."""

    answer: Reply | None
    error: ModelError | None
    steps: tuple[Step, ...]
    notes: tuple[Mapping[str, Json], ...]
    shown: tuple[Part, ...]
    took_s: float

    @property
    def reply(self) -> Reply:
        """The run's Reply. Raises the run's ModelError if it failed."""
        if self.answer is None:
            raise self.error or ModelError("internal", "No reply.")
        return self.answer

    @property
    def text(self) -> str:
        return self.reply.text

    def asked(self, step: str) -> Conversation:
        """Return the conversation of the last step called ``step``. Raises KeyError."""
        for found in reversed(self.steps):
            if found.name == step:
                return found.conversation
        raise KeyError(
            f"No step {step!r}; the steps were: {', '.join(s.name for s in self.steps)}."
        )


class Rehearsal:
    """Run flows with scripted models, tools and approvals; memories last between runs.

    ``models`` has a script for each ``provider:model``, ``tools`` a function for each server-side
    tool, ``approvals`` a decision for each question; a question without one is not answered.

    Example::

        rehearsal = Rehearsal({"openai:gpt-5": ["a draft", "the answer"]})
        played = rehearsal.play(my_flow, "What is a monad?", model="openai:gpt-5")
        assert played.text == "the answer"
    """

    def __init__(
        self,
        models: Mapping[str, Script],
        *,
        tools: Tools | None = None,
        approvals: Mapping[str, bool | After] | None = None,
        seed: int = 0,
    ) -> None:
        self._scripts = {
            name: iter(script) if isinstance(script, list | tuple) else script
            for name, script in models.items()
        }
        self._tools = dict(tools or {})
        self._approvals = dict(approvals or {})
        self._random = Random(seed)
        self._now = datetime(2026, 1, 1, tzinfo=UTC)
        self._transcripts: dict[str, tuple[Message, ...]] = {}
        self._memos: dict[str, str] = {}
        self._runs = 0

    def pause(self, seconds: float) -> None:
        """Advance the time before the next run."""
        self._now += timedelta(seconds=seconds)

    def play(
        self,
        flow: Flow,
        conversation: Conversation | str,
        *,
        headers: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        **params: Any,
    ) -> Played:
        """Run ``flow`` on a conversation, or a user's text, with ``params``.

        A ModelError is returned in ``Played.error``; other exceptions of the flow are raised. Call
        this method where no event loop is running (in a plain ``def``).
        """
        source = (
            Conversation((user(conversation),)) if isinstance(conversation, str) else conversation
        )
        self._runs += 1
        backend = _Stage(self, f"run_{self._runs}", source, self._now)
        run_input = RunInput(
            model=flow.name,
            flow=f"{flow.name}@1",
            digest="",
            conversation=ConversationRef(base=_BASE),
            key_id="key",
            headers=dict(headers or {}),
            limits=limits or Limits(),
            emitted_first=True,
        )
        run: Run[Any] = Run(backend, run_input, flow.params.model_validate(params))
        answer: Reply | None = None
        error: ModelError | None = None
        with asyncio.Runner(loop_factory=_VirtualLoop) as runner:
            try:
                answer = runner.run(_reply_of(flow, run))
            except ModelError as failed:
                error = failed
            took_s = runner.get_loop().time()
        self._now += timedelta(seconds=took_s)
        steps = tuple(backend.steps)
        return Played(answer, error, steps, tuple(run.notes), tuple(backend.shown), took_s)


class _Stage:
    """The RunBackend of one run."""

    def __init__(
        self, rehearsal: Rehearsal, run_id: str, client: Conversation, now: datetime
    ) -> None:
        self.run_id = run_id
        self.steps: list[Step] = []
        self.shown: list[Part] = []
        self._rehearsal = rehearsal
        self._client = client
        self._began = now
        self._performers: dict[str, Callable[[Any], Any]] = {
            REMEMBER_TRANSCRIPT: self._remember_transcript,
            RUN_TOOL: self._run_tool,
            REMEMBER: self._remember,
            RECALL: self._recall,
            SHOW: self._show,
        }

    def now(self) -> datetime:
        return self._began + timedelta(seconds=asyncio.get_running_loop().time())

    def random(self) -> Random:
        return self._rehearsal._random

    def open_conversation(self, digest: str) -> Conversation:
        return self._client

    async def perform(self, work: ActivityCall) -> Any:
        # Without this await, the call would run before steps that were started earlier.
        await asyncio.sleep(0)
        if work.activity != CALL_MODEL:
            return self._performers[work.activity](work.argument)
        try:
            async with asyncio.timeout(work.timeout_s):
                return await self._call(work.argument)
        except TimeoutError:
            raise ModelError("timeout", "No answer within the time allowed.") from None

    async def decision(self, question: str, timeout_s: float) -> bool | None:
        decided = self._rehearsal._approvals.get(question)
        waits_s = decided.seconds if isinstance(decided, After) else 0.0
        if decided is None or waits_s > timeout_s:
            await asyncio.sleep(timeout_s)
            return None
        await asyncio.sleep(waits_s)
        return bool(decided.answer if isinstance(decided, After) else decided)

    async def _call(self, call: ModelCall) -> Reply:
        conversation = resolve(call.conversation, self._client)
        if call.owner:
            turns = assistant_turns(self._client.messages, call.owner)
            known = self._rehearsal._transcripts
            conversation = restore(conversation, self._client.messages, turns, known)
        clock = asyncio.get_running_loop().time
        began = clock()
        reply: Reply | None = None
        error: ModelError | None = None
        try:
            reply = await self._answer(call.model, conversation)
        except ModelError as failed:
            error = failed
            raise
        except asyncio.CancelledError:
            error = ModelError("cancelled", "The call was cancelled.")
            raise
        finally:
            self.steps.append(
                Step(call.step, call.model, conversation, call.emit, began, clock(), reply, error)
            )
        if call.emit:
            calls = [p for p in reply.parts if isinstance(p, ToolCall)]
            hides = any(p.name in call.hidden for p in calls)
            self.shown += [
                p
                for p in reply.parts
                if not isinstance(p, ToolCall)
                or (p.name not in call.hidden and not (hides and call.hold_calls))
            ]
        return reply

    async def _answer(self, model: str, conversation: Conversation) -> Reply:
        script = self._rehearsal._scripts.get(model)
        if script is None:
            known = ", ".join(self._rehearsal._scripts) or "none"
            raise ModelError(
                "flow_error", f"The rehearsal has no answer for {model!r}, only for: {known}."
            )
        answer: Any = script
        if not isinstance(script, str) and hasattr(script, "__next__"):
            try:
                answer = next(script)
            except StopIteration:
                raise ModelError(
                    "flow_error", f"{model!r} was asked more often than its script has answers."
                ) from None
        while not isinstance(answer, Reply):
            match answer:
                case str(text):
                    usage = imagined_usage(conversation, text)
                    answer = Reply((Text(text),), usage=usage, cost_usd=0.0)
                case ToolCall():
                    usage = imagined_usage(conversation, answer.arguments)
                    answer = Reply((answer,), "tool_calls", usage, cost_usd=0.0)
                case ModelError():
                    raise answer
                case After(seconds, later):
                    await asyncio.sleep(seconds)
                    answer = later
                case _ if callable(answer):
                    answer = answer(conversation)
                case _:
                    raise TypeError(f"{answer!r} is not a valid answer of {model!r}; see Answer.")
        return answer

    def _remember_transcript(self, hidden: HiddenTurn) -> None:
        key = reply_key(self._client.messages, hidden.visible, hidden.owner)
        self._rehearsal._transcripts[key] = hidden.messages

    def _run_tool(self, use: ToolUse) -> Json:
        tool = self._rehearsal._tools.get(use.name)
        if tool is None:
            known = ", ".join(self._rehearsal._tools) or "none"
            raise ModelError(
                "flow_error", f"The rehearsal has no tool {use.name!r}, only: {known}."
            )
        return tool(use.params)

    def _remember(self, memo: Memo) -> None:
        self._rehearsal._memos[memo.key] = json.dumps(memo.json)

    def _recall(self, keys: Sequence[str]) -> dict[str, Json]:
        known = self._rehearsal._memos
        return {key: json.loads(known[key]) for key in keys if key in known}

    def _show(self, shown: ProgressPart) -> None:
        self.shown.append(shown.part)


def imagined_usage(conversation: Conversation, answer: str) -> Usage:
    """Return the tokens of a scripted answer: one for four characters, and at least one."""
    system = conversation.system.text if conversation.system else ""
    asked = len(system) + sum(len(message.text) for message in conversation.messages)
    return Usage(input=max(1, asked // 4), output=max(1, len(answer) // 4))


class _Jumping(selectors.SelectSelector):
    """A selector that adds up the time it would wait instead of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise RuntimeError(_FOREVER)
        self.now += max(timeout, 0.0)
        return super().select(0)


class _VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock begins at 0 and jumps."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


async def _reply_of(flow: Flow, run: Run[Any]) -> Reply:
    return run.finished(reply_from(flow, await flow.function(run)))


__all__ = ["After", "Answer", "Limits", "Played", "Rehearsal", "Script", "Step", "Usage"]
