"""Run, the interface through which a flow works.

A flow gets the client's Conversation, its parameters and the methods of Run. Temporal records the
result of everything a flow awaits. After a crash the flow is executed again from its start, and
each finished call returns its recorded result. A flow must therefore be deterministic: it gets
time, random numbers and I/O only through its run.

Only one step at a time may emit to the client. The flow decides how to handle a failed step:
``ask`` raises ModelError, ``panel`` collects the failures and returns the answers it got.

A Run uses a RunBackend (``boundary/backend.py``): Temporal in production, memory in tests.
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
    """One execution of a flow.

    The examples in the docstrings are lines of a flow's function.
    """

    async def panel(
        self,
        branches: Sequence[Branch],
        *,
        quorum: int,
        grace_s: float,
        timeout_s: float = 600.0,
    ) -> Panel:
        """Ask all branches at once; wait for ``quorum`` answers, then ``grace_s`` for the rest.

        Times are in seconds. A branch that fails or is too late is a ModelError in
        ``Panel.failures``; it is not raised.

        Example::

            asked = run.conversation.instructed("Answer in three sentences.")
            branches = [Branch(f"branch {model}", model, asked) for model in run.params.models]
            panel = await run.panel(branches, quorum=2, grace_s=20)
            texts = [reply.text for _, reply in panel.answers]
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
        """Ask ``model`` with mounted ``tools``, and run their calls until it has answered.

        Text is streamed to the client. The mounted calls of one answer run concurrently, and the
        model is asked again with their results. If the same answer also calls tools of the client,
        these calls are returned to the client afterwards. After ``rounds`` rounds of mounted calls
        the mounted tools are no longer offered. ``prepared`` messages are inserted before the
        model's first message; the client does not see them.

        The Reply contains what the client sees: all text, and calls of the client's own tools only.
        The hidden messages are stored and restored in the client's next request, so that the model
        sees the whole conversation and the provider's prompt cache matches.

        With ``emit=False`` (for a mounted tool that uses tools itself) nothing is shown to the
        client, stored or restored. Raises ModelError when the model fails.

        Example::

            async def answer(call: ToolCall) -> str:
                return json.dumps(await run.tool("search", json.loads(call.arguments)))


            search = MountedTool(Tool("search", "Search the handbook.", SCHEMA), answer)
            return await run.converse(run.params.model, run.conversation, tools=[search], step="a")
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
        """Return the complaints of ``checks`` about ``reply``; an empty tuple means that it passes.

        Example::

            complaints = await run.check(reply, [FitsTools(), FollowsSchema(SCHEMA)])
        """
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

        ``conversation`` is the one that ``reply`` answers, by default the client's. If the last
        Reply does not pass either, ``Checked.complaints`` lists why. Nothing is emitted to the
        client. Raises ModelError when the model fails.

        Example::

            draft = await run.ask(run.params.model, step="draft")
            checked = await run.repair(run.params.model, draft, [FollowsSchema(SCHEMA)])
            return checked.reply
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
