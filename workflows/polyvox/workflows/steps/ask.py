"""The single steps of a Run: ask a model, run a tool, remember, wait for a person's word.

What takes several steps (panels, mounted tools, repairs) stands in modules of its own, on top of
these; ``run.py`` puts them together.
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
from polyvox.workflows.conversation import Conversation, Json, Message, Part, Reasoning
from polyvox.workflows.errors import ModelError
from polyvox.workflows.reply import Cost, Reply, Usage
from polyvox.workflows.session import session_key
from polyvox.workflows.steps.transcript import user_turn_key

P = TypeVar("P")

Scope = Literal["turn", "session", "always"]
"""How long a memory holds: for the user's turn, for the client's session, for everybody."""

_MOST_PAUSES = 8
"""How often a paused answer is continued; a provider that never ends must not be paid for ever."""

_HEARTBEAT_S = 10.0
_MEMORY_S = 10.0


class Steps(Generic[P]):
    """One execution of a flow, as far as one step goes."""

    def __init__(self, backend: RunBackend, run_input: RunInput, params: P) -> None:
        self.params = params
        self.headers: Mapping[str, str] = MappingProxyType(dict(run_input.headers))
        """The request's ``x-polyvox-...`` headers and those that name client and session."""
        self.usage = Usage()
        """Tokens of all calls that ended well so far."""
        self.cost = Cost()
        """What these calls cost in US dollars, as far as prices are known."""
        self.calls = 0
        """How many models were asked so far, whatever became of it."""
        self.notes: list[dict[str, Json]] = []
        self._backend = backend
        self._input = run_input
        self._conversation: Conversation | None = None
        self._emitting: str | None = None
        self._progress: list[Part] = []

    @property
    def conversation(self) -> Conversation:
        """The client's conversation, loaded when first looked at."""
        if self._conversation is None:
            self._conversation = self._backend.open_conversation(self._input.conversation.base)
        return self._conversation

    def note(self, what: str, **facts: Json) -> None:
        """Leave a line in the run's trace: ``what`` happened, with JSON ``facts``."""
        self.notes.append({"what": what, **facts})

    def now(self) -> datetime:
        """The time of this step, the same in every replay; UTC."""
        return self._backend.now()

    def random(self) -> Random:
        """A source of chance that is the same in every replay."""
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
        """Ask ``model`` (``provider:model``) to go on with ``conversation`` (the client's).

        With ``emit`` the client reads along. ``hidden`` names tools whose calls it never sees;
        ``hold_calls`` keeps all calls back until the answer is whole and has no hidden one.
        ``restore`` puts back what earlier turns hid from the client. An answer that its provider
        only paused is continued, and comes back as one. Raises ModelError when every allowed
        attempt failed.
        """
        provider, _, name = model.partition(":")
        if not provider or not name:
            raise ModelError(
                "flow_error",
                f"Step {step!r} asks {model!r}, which is no provider:model. Take the model from a "
                "parameter of type Model, which is checked when it is set.",
            )
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
            # The provider wants its turn back to go on with it.
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
            # The client's own conversation is passed on without being looked at.
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
        )
        self._count_call(step)
        if emit:
            self._begin_emitting(step)
        try:
            reply: Reply = await self._backend.perform(
                ActivityCall(CALL_MODEL, call, Reply, f"{step}: {model}", timeout_s, _HEARTBEAT_S)
            )
        except ModelError as failed:
            # Most failures cost nothing, and of one whose cost is unknown no fallback shall die.
            self.cost = self.cost.plus(failed.cost_usd or 0.0)
            raise
        finally:
            if emit:
                self._emitting = None
        self.usage += reply.usage
        self.cost = self.cost.plus(reply.cost_usd)
        return reply

    async def tool(
        self, name: str, params: Mapping[str, Json], *, step: str = "", timeout_s: float = 60.0
    ) -> Json:
        """Run the server-side tool ``name`` and return its JSON result.

        It runs where the models are called from, is tried again when that may help, and may see
        the media of the client's conversation. Raises ModelError when it fails.
        """
        use = ToolUse(self._backend.run_id, name, dict(params), self._input.conversation.base)
        summary = f"{step}: {name}" if step else name
        return await self._backend.perform(
            ActivityCall(RUN_TOOL, use, object, summary, timeout_s, _HEARTBEAT_S)
        )

    async def remember(self, name: str, value: Json, *, scope: Scope = "turn") -> None:
        """Keep a JSON ``value`` for later requests of the same turn, session or for all.

        It is found by what the client sends, survives restarts, and belongs to this key and model;
        of ``always`` the name must say everything the value depends on. A memory that cannot be
        written is a note, never a failure.
        """
        memo = Memo(self._place(name, scope), value)
        try:
            await self._backend.perform(
                ActivityCall(REMEMBER, memo, object, f"remember {name[:80]}", _MEMORY_S)
            )
        except ModelError as error:
            self.note("not remembered", name=name, message=error.message)

    async def recall(self, name: str, *, scope: Scope = "turn") -> Json:
        """Return what was remembered under ``name`` in this ``scope``, None if nothing was."""
        return (await self.recall_each([name], scope=scope)).get(name)

    async def recall_each(self, names: Sequence[str], *, scope: Scope = "turn") -> dict[str, Json]:
        """Return what was remembered, by name, in one step; names without a memory are left out."""
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
        """Wait until somebody answers ``question`` (``polyvox runs approve``).

        After ``timeout_s`` the answer is ``default``. Each question of a run must be its own.
        """
        decided = await self._backend.decision(question, timeout_s)
        approved = default if decided is None else decided
        self.note("approval", question=question, approved=approved, in_time=decided is not None)
        return approved

    async def show(self, text: str) -> None:
        """Show the client progress while nothing else is written, as the model's reasoning.

        It becomes a Reasoning part of the run's Reply and never part of its text.
        """
        part = Reasoning(text)
        self._begin_emitting("show")
        try:
            await self._backend.perform(
                ActivityCall(
                    SHOW, ProgressPart(self._backend.run_id, part), object, "show progress", 10.0
                )
            )
        finally:
            self._emitting = None
        self._progress.append(part)

    def finished(self, reply: Reply) -> Reply:
        """Return the flow's ``reply`` as the run's: with what was shown, usage and cost of all."""
        parts = (*self._taken_progress(), *reply.parts)
        return replace(reply, parts=parts, usage=self.usage, cost_usd=self.cost.whole)

    def _taken_progress(self) -> tuple[Part, ...]:
        """Return what was shown since the last time, for the Reply that is being put together."""
        taken, self._progress = tuple(self._progress), []
        return taken

    async def _remember_transcript(
        self, hidden: tuple[Message, ...], shown: tuple[Part, ...]
    ) -> None:
        """Keep a turn's true messages; see ``transcript.py``."""
        transcript = HiddenTurn(self._input.conversation.base, self._owner, hidden, shown)
        summary = "remember what the client does not see"
        try:
            await self._backend.perform(
                ActivityCall(REMEMBER_TRANSCRIPT, transcript, object, summary, _MEMORY_S)
            )
        except ModelError as error:
            self.note("transcript not remembered", message=error.message)

    @property
    def _owner(self) -> str:
        """Who may meet memories again: the same key with the same model."""
        return f"{self._input.key_id} {self._input.model}"

    def _place(self, name: str, scope: Scope) -> str:
        where = ""
        if scope == "turn":
            where = user_turn_key(self.conversation.messages, self._owner)
        elif scope == "session":
            where = session_key(self.conversation, self.headers, self._owner)
        return f"{scope}\0{where}\0{name}"

    def _count_call(self, step: str) -> None:
        limits = self._input.limits
        if self.calls >= limits.calls:
            raise ModelError(
                "flow_error",
                f"Step {step!r} would be call {limits.calls + 1} of the run, and its limit is "
                f"calls = {limits.calls}. If the flow does not loop, raise it: "
                "[models.NAME.limits] calls.",
            )
        if limits.cost_usd is not None:
            self._check_cost(step, limits.cost_usd)
        self.calls += 1

    def _check_cost(self, step: str, limit: float) -> None:
        if self.cost.unknown:
            raise ModelError(
                "flow_error",
                f"Step {step!r} is not asked: the run has a limit cost_usd = {limit:g}, and a "
                "provider did not say what tokens an earlier call of it took, so nobody knows what "
                "is left.",
            )
        if self.cost.usd >= limit:
            raise ModelError(
                "flow_error",
                f"Step {step!r} is not asked: the run has cost ${self.cost.usd:.4f}, and its limit "
                f"is cost_usd = {limit:g}. Raise it: [models.NAME.limits] cost_usd.",
            )

    def _begin_emitting(self, step: str) -> None:
        if self._emitting is not None:
            raise ModelError(
                "flow_error",
                f"Step {step!r} was to write to the client while step {self._emitting!r} still "
                "does. Only one step at a time may: await the first one, or ask without emit.",
            )
        self._emitting = step
