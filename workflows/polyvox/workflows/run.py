"""A Run: what a flow can do. The only place where a workflow executes activities.

A flow sees a Conversation, its parameters and a few verbs. Everything it awaits is recorded by
Temporal, so after a crash the flow is run again from its start and each finished call is answered
from the record: a flow must therefore decide by its inputs alone (no clock, no chance, no I/O but
through the run).

Only one step at a time emits to the client. What a failed step costs is the flow's decision:
``ask`` raises ModelError, ``panel`` gathers failures and goes on with who answered.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random
from typing import Any, Generic, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError

from polyvox.workflows.calls import Hidden, ModelCall, RunInput, refer
from polyvox.workflows.conversation import (
    Conversation,
    Json,
    Message,
    Part,
    Tool,
    ToolCall,
    tool_result,
)
from polyvox.workflows.errors import ModelError
from polyvox.workflows.failures import model_error
from polyvox.workflows.reply import Reply, Usage

P = TypeVar("P")

# The activities' names stand in every history and so never change.
CALL_MODEL = "call_model"
REMEMBER_TRANSCRIPT = "remember_transcript"

_RETRY = RetryPolicy(
    initial_interval=timedelta(milliseconds=500),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=5),
    maximum_attempts=3,
)


@dataclass(frozen=True, slots=True)
class MountedTool:
    """A tool the flow runs itself; the client never sees it.

    ``answer`` gets the model's call and returns the result's text. A ModelError it raises becomes
    an error result the model can read.
    """

    tool: Tool
    answer: Callable[[ToolCall], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Branch:
    """One voice of a panel: which model is asked what, and what its step is called."""

    step: str
    model: str
    conversation: Conversation


@dataclass(frozen=True, slots=True)
class Panel:
    """Who answered and who failed, each in the order the branches were given."""

    answers: tuple[tuple[Branch, Reply], ...]
    failures: tuple[tuple[Branch, ModelError], ...]


class Run(Generic[P]):
    """One execution of a flow."""

    def __init__(
        self, run_input: RunInput, params: P, open_conversation: Callable[[str], Conversation]
    ) -> None:
        self.params = params
        self.usage = Usage()
        """Tokens of all calls that ended well so far."""
        self.notes: list[dict[str, Json]] = []
        self._input = run_input
        self._open = open_conversation
        self._conversation: Conversation | None = None

    @property
    def conversation(self) -> Conversation:
        """The client's conversation, loaded when first looked at."""
        if self._conversation is None:
            self._conversation = self._open(self._input.conversation.base)
        return self._conversation

    def note(self, what: str, **facts: Json) -> None:
        """Leave a line in the run's trace: ``what`` happened, with JSON ``facts``."""
        self.notes.append({"what": what, **facts})

    def now(self) -> datetime:
        """The time of this step, the same in every replay; UTC."""
        return workflow.now()

    def random(self) -> Random:
        """A source of chance that is the same in every replay."""
        return workflow.random()

    async def ask(
        self,
        model: str,
        conversation: Conversation | None = None,
        *,
        step: str,
        emit: bool = False,
        hidden: Sequence[str] = (),
        hold_calls: bool = False,
        restore: bool = False,
        timeout_s: float = 600.0,
    ) -> Reply:
        """Ask ``model`` (``provider:model``) to go on with ``conversation`` (the client's).

        With ``emit`` the client reads along. ``hidden`` names tools whose calls it never sees;
        ``hold_calls`` keeps all calls back until the answer is whole and has no hidden one.
        ``restore`` puts back what earlier turns hid from the client. Raises ModelError when every
        allowed attempt failed.
        """
        stored = self._input.conversation
        call = ModelCall(
            run_id=workflow.info().workflow_id,
            step=step,
            model=model,
            # The client's own conversation is passed on without being looked at.
            conversation=stored
            if conversation is None
            else refer(conversation, self.conversation, stored.base),
            emit=emit,
            hidden=tuple(hidden),
            hold_calls=hold_calls,
            owner=self._owner if restore else "",
            traceparent=self._input.traceparent,
        )
        try:
            reply: Reply = await workflow.execute_activity(
                CALL_MODEL,
                call,
                result_type=Reply,
                summary=f"{step}: {model}",
                start_to_close_timeout=timedelta(seconds=timeout_s),
                schedule_to_close_timeout=timedelta(seconds=2 * timeout_s),
                heartbeat_timeout=timedelta(seconds=10),
                retry_policy=_RETRY,
            )
        except ActivityError as failed:
            error = model_error(failed)
            if error.kind == "cancelled":
                # The run, or this branch of it, is being ended: not a failure a flow may mend.
                raise asyncio.CancelledError from failed
            raise error from failed
        self.usage += reply.usage
        return reply

    async def panel(
        self,
        branches: Sequence[Branch],
        *,
        quorum: int,
        grace_s: float,
        timeout_s: float = 600.0,
    ) -> Panel:
        """Ask all branches at once; wait for ``quorum`` answers, then ``grace_s`` for the rest.

        A branch that fails, or is too late, is a typed failure in the Panel and never raises.
        """
        tasks = [
            asyncio.create_task(self.ask(b.model, b.conversation, step=b.step, timeout_s=timeout_s))
            for b in branches
        ]
        try:
            await self._gather(tasks, quorum, grace_s, timeout_s)
        finally:
            for task in tasks:
                task.cancel()
        answers: list[tuple[Branch, Reply]] = []
        failures: list[tuple[Branch, ModelError]] = []
        for branch, task in zip(branches, tasks, strict=True):
            outcome = _outcome(task)
            if isinstance(outcome, Reply):
                answers.append((branch, outcome))
            else:
                failures.append((branch, outcome))
                self.note(
                    "branch failed",
                    step=branch.step,
                    model=branch.model,
                    kind=outcome.kind,
                    message=outcome.message,
                )
        return Panel(tuple(answers), tuple(failures))

    async def _gather(
        self, tasks: list["asyncio.Task[Reply]"], quorum: int, grace_s: float, timeout_s: float
    ) -> None:
        """Wait until all tasks ended, or the quorum's grace or the whole time is over."""
        waiting = tasks
        ends = workflow.time() + timeout_s
        in_grace = False
        while waiting and (left := ends - workflow.time()) > 0:
            done, waiting = await workflow.wait(
                waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED
            )
            answered = sum(1 for t in tasks if t.done() and isinstance(_outcome(t), Reply))
            if done and answered >= quorum and not in_grace:
                in_grace = True
                ends = min(ends, workflow.time() + grace_s)

    async def converse(
        self,
        model: str,
        conversation: Conversation,
        *,
        tools: Sequence[MountedTool],
        step: str,
        prepared: Sequence[Message] = (),
        rounds: int = 4,
        timeout_s: float = 600.0,
    ) -> Reply:
        """Let ``model`` answer the client with ``tools`` at hand, looped until it is done.

        Text streams live. Mounted calls are run, all at once, and the model goes on with their
        results; the client's own tools, called in the same breath, are handed to it after that.
        After ``rounds`` of mounted calls the mounted tools are taken away. ``prepared`` messages
        stand hidden before the model's first word, as if it had said and heard them.

        The Reply has what the client sees: every text, and calls of its own tools only. The rest
        is remembered and put back when the client goes on, so that the model meets the whole
        conversation again and the provider's prompt cache holds.
        """
        mounted = {m.tool.name: m for m in tools}
        hidden = tuple(prepared)
        shown: tuple[Part, ...] = ()
        for turn in range(rounds + 1):
            offered = [m.tool for m in tools] if turn < rounds else []
            reply = await self.ask(
                model,
                conversation.offering(offered).then(*hidden),
                step=step,
                emit=True,
                hidden=tuple(mounted),
                hold_calls=bool(offered),
                restore=True,
                timeout_s=timeout_s,
            )
            visible = [p for p in reply.parts if not _is_call_of(p, mounted)]
            shown = (*shown, *visible)
            calls = [call for call in reply.tool_calls if call.name in mounted]
            results = await asyncio.gather(*(_result(call, mounted[call.name]) for call in calls))
            hidden = (*hidden, reply.message, *results)
            if not calls or any(isinstance(part, ToolCall) for part in visible):
                if len(hidden) > 1:
                    await self._remember(hidden, shown)
                return replace(reply, parts=shown)
        raise ModelError(
            "flow_error",
            f"The model kept calling mounted tools ({', '.join(mounted)}) that were taken away "
            f"after {rounds} rounds.",
        )

    @property
    def _owner(self) -> str:
        """Who may meet a remembered transcript again: the same key with the same model."""
        return f"{self._input.key_id} {self._input.model}"

    async def _remember(self, hidden: tuple[Message, ...], shown: tuple[Part, ...]) -> None:
        try:
            await workflow.execute_activity(
                REMEMBER_TRANSCRIPT,
                Hidden(self._input.conversation.base, self._owner, hidden, shown),
                summary="remember what the client does not see",
                start_to_close_timeout=timedelta(seconds=10),
                retry_policy=_RETRY,
            )
        except ActivityError as failed:
            self.note("transcript not remembered", message=model_error(failed).message)


def _is_call_of(part: Part, mounted: Mapping[str, MountedTool]) -> bool:
    return isinstance(part, ToolCall) and part.name in mounted


async def _result(call: ToolCall, mounted: MountedTool) -> Message:
    try:
        return tool_result(call, await mounted.answer(call))
    except ModelError as error:
        return tool_result(call, f"{call.name} failed: {error.message}", is_error=True)


def _outcome(task: "asyncio.Task[Reply]") -> Reply | ModelError:
    """Return what a panel's task came to; one that is still running is too late."""
    if not task.done():
        return ModelError("timeout", "The branch had not answered when the panel was closed.")
    if task.cancelled():
        return ModelError("cancelled", "The branch was cancelled.")
    error: Any = task.exception()
    if error is None:
        return task.result()
    if isinstance(error, ModelError):
        return error
    raise error
