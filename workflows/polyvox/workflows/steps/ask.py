"""The single steps of a Run: ask a model, run a tool, remember values, wait for an approval.

Operations of several steps (panels, mounted tools, repairs) are in other modules and use these;
``run.py`` combines them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from random import Random
from types import MappingProxyType
from typing import Generic, Literal, TypeVar

from polyvox.workflows.boundary.backend import (
    CALL_MODEL,
    RECALL,
    REMEMBER,
    REMEMBER_TRANSCRIPT,
    RUN_TOOL,
    SHOW,
    ActivityCall,
    RunBackend,
)
from polyvox.workflows.boundary.calls import (
    HiddenTurn,
    Memo,
    ModelCall,
    ProgressPart,
    RunInput,
    ToolUse,
    refer,
)
from polyvox.workflows.boundary.serialization import as_json
from polyvox.workflows.conversation import Conversation, Json, Message, Part, Reasoning
from polyvox.workflows.errors import ModelError
from polyvox.workflows.reply import Cost, Reply, Usage
from polyvox.workflows.session import session_key
from polyvox.workflows.steps.arguments import check_arguments
from polyvox.workflows.steps.emission import NOT_IN_REPLY, Emitted, completed, visible_parts
from polyvox.workflows.steps.run_limits import refuse_beyond_limits
from polyvox.workflows.steps.transcript import user_turn_key

P = TypeVar("P")

Scope = Literal["turn", "session", "always"]
"""How long a value is remembered: for the user's turn, for the client's session, or forever."""

_MOST_PAUSES = 8
"""How often a paused answer is continued; this bounds the cost if a provider never finishes."""

_HEARTBEAT_S = 8.0
"""The engine takes an attempt for lost after so many seconds without a heartbeat. One is sent every
two; a process that is known to be dead is not waited for (``recovery/sweep.py``)."""

_MEMORY_S = 10.0


class Steps(Generic[P]):
    """The part of Run with its single steps."""

    def __init__(self, backend: RunBackend, run_input: RunInput, params: P) -> None:
        self.params = params
        """The model's parameters, an instance of the flow's class."""
        self.headers: Mapping[str, str] = MappingProxyType(dict(run_input.headers))
        """The request's ``x-polyvox-...`` headers and those that identify client and session."""
        self.usage = Usage()
        """Tokens of all successful calls so far; ``usage.total`` is None if any are unknown."""
        self.cost = Cost()
        """The cost of these calls in US dollars, as far as prices are known."""
        self.calls = 0
        """The number of model calls so far, including failed ones."""
        self.notes: list[dict[str, Json]] = []
        """The notes so far."""
        if run_input.side:
            self.note("request beside the conversation", kind=run_input.side)
        self._backend = backend
        self._input = run_input
        self._conversation: Conversation | None = None
        self._emitting: str | None = None
        self._progress: list[Part] = []
        self._emitted: list[Emitted] = []

    @property
    def conversation(self) -> Conversation:
        """The client's conversation, loaded on first access.

        Example::

            question = run.conversation.last_user_text
        """
        if self._conversation is None:
            self._conversation = self._backend.open_conversation(self._input.conversation.base)
        return self._conversation

    def note(self, what: str, **facts: Json) -> None:
        """Add a note to the run's trace: ``what`` happened, with JSON ``facts``.

        A fact that is not JSON is noted as its text.

        Example::

            run.note("draft too short", characters=len(draft.text))
        """
        self.notes.append({"what": what, **{name: as_json(fact) for name, fact in facts.items()}})

    def now(self) -> datetime:
        """Return the time of this step in UTC, the same in every replay.

        Example::

            is_night = run.now().hour < 6
        """
        return self._backend.now()

    def random(self) -> Random:
        """Return a random number generator that is the same in every replay.

        Example::

            model = run.random().choice(run.params.models)
        """
        return self._backend.random()

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
        """Ask ``model`` (``provider:model``) to answer ``conversation``, by default the client's.

        With ``emit`` the answer is streamed to the client. Calls of the tools named in ``hidden``
        are not; with ``hold_calls`` no call is streamed before the answer is complete and known to
        have no hidden call. ``restore`` adds the messages hidden from the client in earlier turns.
        An answer that the provider paused is continued and returned as one Reply. ``timeout_s``
        limits one attempt. Raises ModelError when all allowed attempts failed.

        Example::

            draft = await run.ask(run.params.model, step="draft")
            asked = run.conversation.then(draft.message, user("Improve your answer."))
            return await run.ask(run.params.model, asked, step="final", emit=True)
        """
        check_arguments(step, model, conversation)
        talk = conversation

        async def once() -> Reply:
            return await self._ask_once(
                model,
                talk,
                step=step,
                emit=emit,
                hidden=hidden,
                hold_calls=hold_calls,
                restore=restore,
                timeout_s=timeout_s,
            )

        reply = await once()
        for _ in range(_MOST_PAUSES):
            if reply.finish != "pause":
                break
            # The provider continues its turn when it gets it back.
            talk = (conversation or self.conversation).then(reply.message)
            rest = await once()
            reply = replace(
                rest,
                parts=(*reply.parts, *rest.parts),
                usage=reply.usage + rest.usage,
                cost_usd=Cost().plus(reply.cost_usd).plus(rest.cost_usd).whole,
            )
        return reply

    async def _ask_once(
        self,
        model: str,
        conversation: Conversation | None,
        *,
        step: str,
        emit: bool,
        hidden: Sequence[str],
        hold_calls: bool,
        restore: bool,
        timeout_s: float,
    ) -> Reply:
        stored = self._input.conversation
        call = ModelCall(
            run_id=self._backend.run_id,
            step=step,
            model=model,
            # The client's own conversation is referenced without being loaded.
            conversation=stored
            if conversation is None
            else refer(conversation, self.conversation, stored.base),
            emit=emit,
            hidden=tuple(hidden),
            hold_calls=hold_calls,
            owner=self._owner if restore else "",
            traceparent=self._input.traceparent,
            recorded=self._input.recorded,
            priced=self._input.limits.cost_usd is not None,
            key_id=self._input.key_id,
            listener=self._input.listener,
        )
        refuse_beyond_limits(self._input.limits, step, calls=self.calls, cost=self.cost)
        self.calls += 1
        if emit:
            self._begin_emitting(step)
        try:
            reply: Reply = await self._backend.perform(
                ActivityCall(CALL_MODEL, call, Reply, f"{step}: {model}", timeout_s, _HEARTBEAT_S)
            )
        except ModelError as failed:
            # Most failures cost nothing, and an unknown cost must not block the flow's fallback.
            self.cost = self.cost.plus(failed.cost_usd or 0.0)
            raise
        finally:
            if emit:
                self._emitting = None
        reply = reply.with_usage(reply.usage.of_call)
        self.usage += reply.usage
        self.cost = self.cost.plus(reply.cost_usd)
        if emit:
            shown = visible_parts(reply, hidden, hold_calls=hold_calls)
            self._emitted += [Emitted(step, part) for part in shown]
        return reply

    async def tool(
        self, name: str, params: Mapping[str, Json], *, step: str = "", timeout_s: float = 60.0
    ) -> Json:
        """Run the server-side tool ``name`` and return its JSON result.

        It runs in an activity, is retried after retryable errors, and can read the media of the
        client's conversation. ``timeout_s`` limits one attempt. Raises ModelError when it fails.

        Example::

            found = await run.tool("search", {"query": run.conversation.last_user_text})
        """
        use = ToolUse(self._backend.run_id, name, dict(params), self._input.conversation.base)
        summary = f"{step}: {name}" if step else name
        return await self._backend.perform(
            ActivityCall(RUN_TOOL, use, object, summary, timeout_s, _HEARTBEAT_S)
        )

    async def remember(self, name: str, value: Json, *, scope: Scope = "turn") -> None:
        """Store a JSON ``value`` for later requests of the same turn or session, or for all.

        The turn or session is identified by what the client sends, and separate for each API key
        and virtual model. Values of scope ``always`` are shared by all runs, so the name must
        contain everything the value depends on. Values survive restarts. If a value cannot be
        stored, the run gets a note.

        Example::

            await run.remember("plan", draft.text, scope="session")
        """
        memo = Memo(self._place(name, scope), value)
        try:
            await self._backend.perform(
                ActivityCall(REMEMBER, memo, object, f"remember {name[:80]}", _MEMORY_S)
            )
        except ModelError as error:
            self.note("not remembered", name=name, message=error.message)

    async def recall(self, name: str, *, scope: Scope = "turn") -> Json:
        """Return the value remembered under ``name`` in this ``scope``, None if there is none.

        Example::

            plan = await run.recall("plan", scope="session")
        """
        return (await self.recall_each([name], scope=scope)).get(name)

    async def recall_each(self, names: Sequence[str], *, scope: Scope = "turn") -> dict[str, Json]:
        """Return the remembered values by name, in one step; names without a value are left out.

        Example::

            known = await run.recall_each(["plan", "budget"], scope="session")
        """
        places = {self._place(name, scope): name for name in names}
        if not places:
            return {}
        shown = names[0][:80] if len(places) == 1 else f"{len(places)} values"
        try:
            found = await self._backend.perform(
                ActivityCall(RECALL, list(places), dict, f"recall {shown}", _MEMORY_S)
            )
        except ModelError as error:
            self.note("not recalled", message=error.message)
            return {}
        return {places[key]: value for key, value in found.items()}

    async def approve(
        self, question: str, *, timeout_s: float = 3600.0, default: bool = False
    ) -> bool:
        """Wait until a person approves or rejects ``question`` (``polyvox runs approve``).

        Returns ``default`` after ``timeout_s`` seconds. Each question of a run must be different.

        Example::

            if not await run.approve("Ask the expensive model?", timeout_s=600):
                return draft
        """
        decided = await self._backend.decision(question, timeout_s)
        approved = default if decided is None else decided
        self.note("approval", question=question, approved=approved, in_time=decided is not None)
        return approved

    async def show(self, text: str) -> None:
        """Stream ``text`` to the client as reasoning, to show progress between emitting steps.

        It becomes a Reasoning part of the run's Reply and never part of its text.

        Example::

            await run.show("Comparing three answers.\\n")
        """
        part = Reasoning(text)
        shown = ProgressPart(self._backend.run_id, part, self._input.listener)
        self._begin_emitting("show")
        try:
            await self._backend.perform(ActivityCall(SHOW, shown, object, "show progress", 10.0))
        finally:
            self._emitting = None
        self._progress.append(part)
        self._emitted.append(Emitted("show", part, progress=True))

    def finished(self, reply: Reply) -> Reply:
        """Return the flow's ``reply`` with all that was emitted, and the run's usage and cost.

        If the flow's reply contradicts what was emitted, the run gets a note. The host calls this
        method with what the flow returned; a flow does not need it.
        """
        if self._input.emitted_first:
            reply, contradicted = completed(reply, self._emitted)
            if contradicted:
                self.note(NOT_IN_REPLY, steps=contradicted)
        else:  # a run that an earlier version began
            reply = replace(reply, parts=(*self._taken_progress(), *reply.parts))
        return replace(reply, usage=self.usage.meters, cost_usd=self.cost.whole)

    def _taken_progress(self) -> tuple[Part, ...]:
        """Return and clear the progress shown since the last call, to add it to a Reply."""
        taken, self._progress = tuple(self._progress), []
        return taken

    async def _remember_transcript(
        self, hidden: tuple[Message, ...], visible: tuple[Part, ...]
    ) -> None:
        """Store a turn's messages with the hidden ones; see ``transcript.py``."""
        transcript = HiddenTurn(self._input.conversation.base, self._owner, hidden, visible)
        summary = "remember what the client does not see"
        try:
            await self._backend.perform(
                ActivityCall(REMEMBER_TRANSCRIPT, transcript, object, summary, _MEMORY_S)
            )
        except ModelError as error:
            self.note("transcript not remembered", message=error.message)

    @property
    def _owner(self) -> str:
        """The owner of memories: this API key with this virtual model."""
        return f"{self._input.key_id} {self._input.model}"

    def _place(self, name: str, scope: Scope) -> str:
        where = ""
        if scope == "turn":
            where = user_turn_key(self.conversation.messages, self._owner)
        elif scope == "session":
            where = session_key(self.conversation, self.headers, self._owner)
        return f"{scope}\0{where}\0{name}"

    def _begin_emitting(self, step: str) -> None:
        if self._emitting is not None:
            raise ModelError(
                "flow_error",
                f"Step {step!r} was started with emit while step {self._emitting!r} is still "
                "emitting. Only one step may emit at a time: await the first one, or do not emit.",
            )
        self._emitting = step
