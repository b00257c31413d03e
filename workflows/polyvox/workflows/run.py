"""A Run: what a flow can do.

A flow sees a Conversation, its parameters and a few verbs. Everything it awaits is recorded by
Temporal, so after a crash the flow is run again from its start and each finished call is answered
from the record: a flow must therefore decide by its inputs alone (no clock, no chance, no I/O but
through the run).

Only one step at a time emits to the client. What a failed step costs is the flow's decision:
``ask`` raises ModelError, ``panel`` gathers failures and goes on with who answered.

A Run works on a RunBackend (``boundary/backend.py``): Temporal when it serves, memory when it is
tested.
"""

from collections.abc import Sequence
from typing import Generic, TypeVar

from polyvox.workflows.checks import (
    REPAIR_PROMPT,
    Check,
    Checked,
    complaints_about,
    repaired,
)
from polyvox.workflows.conversation import Conversation, Message
from polyvox.workflows.reply import Reply
from polyvox.workflows.steps.ask import Steps
from polyvox.workflows.steps.converse import MountedTool, converse_with
from polyvox.workflows.steps.panel import Branch, Panel, ask_panel

P = TypeVar("P")


class Run(Steps[P], Generic[P]):
    """One execution of a flow."""

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
        return await ask_panel(self, branches, quorum=quorum, grace_s=grace_s, timeout_s=timeout_s)

    async def converse(
        self,
        model: str,
        conversation: Conversation,
        *,
        tools: Sequence[MountedTool],
        step: str,
        prepared: Sequence[Message] = (),
        rounds: int = 4,
        emit: bool = True,
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

        Without ``emit`` it is a conversation behind the scenes (a mounted tool that has tools of
        its own): nothing is shown, remembered or put back.
        """
        return await converse_with(
            self,
            model,
            conversation,
            tools=tools,
            step=step,
            prepared=prepared,
            rounds=rounds,
            emit=emit,
            timeout_s=timeout_s,
        )

    async def check(self, reply: Reply, checks: Sequence[Check]) -> tuple[str, ...]:
        """Return what ``checks`` find wrong with ``reply``; nothing means that it passes."""
        return await complaints_about(self, reply, checks)

    async def repair(
        self,
        model: str,
        reply: Reply,
        checks: Sequence[Check],
        *,
        conversation: Conversation | None = None,
        step: str = "repair",
        rounds: int = 2,
        prompt: str = REPAIR_PROMPT,
        timeout_s: float = 600.0,
    ) -> Checked:
        """Check ``reply`` and, up to ``rounds`` times, ask ``model`` again with the complaints.

        ``conversation`` is what was answered (the client's). The repaired Reply may still not
        pass: ``Checked.complaints`` tells. Nothing is emitted. Raises ModelError when the model
        fails.
        """
        return await repaired(
            self,
            model,
            reply,
            checks,
            conversation=conversation or self.conversation,
            step=step,
            rounds=rounds,
            prompt=prompt,
            timeout_s=timeout_s,
        )


__all__ = ["Branch", "Check", "Checked", "MountedTool", "Panel", "Run"]
