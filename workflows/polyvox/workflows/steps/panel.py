"""A panel: several models are asked at once, and the answers of a quorum are enough."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from polyvox.workflows.conversation import Conversation
from polyvox.workflows.errors import ModelError, most_actionable
from polyvox.workflows.reply import Reply
from polyvox.workflows.steps.ask import Steps


@dataclass(frozen=True, slots=True)
class Branch:
    """One member of a panel: the name of its step, its model and what that is asked.

    Example::

        asked = run.conversation.without_tool_use()
        branches = [Branch(f"branch {model}", model, asked) for model in run.params.models]
    """

    step: str
    model: str
    conversation: Conversation


@dataclass(frozen=True, slots=True)
class Panel:
    """The answers and failures of a panel, as pairs in the order of the branches.

    Example::

        branches = [Branch(model, model, run.conversation) for model in run.params.models]
        panel = await run.panel(branches, quorum=1, grace_s=20)
        for branch, reply in panel.answers:
            run.note("answered", step=branch.step, characters=len(reply.text))
    """

    answers: tuple[tuple[Branch, Reply], ...]
    failures: tuple[tuple[Branch, ModelError], ...]

    @property
    def error(self) -> ModelError | None:
        """The failure to raise if no answer is enough: the one that helps the client most."""
        errors = [error for _, error in self.failures]
        return most_actionable(errors) if errors else None


async def ask_panel(
    run: Steps[Any], branches: Sequence[Branch], *, quorum: int, grace_s: float, timeout_s: float
) -> Panel:
    """Ask all ``branches`` at once; see ``Run.panel``."""
    for branch in branches:
        if not isinstance(branch, Branch):
            raise ModelError(
                "flow_error",
                f"A panel takes branches, not {type(branch).__name__}. Write "
                "Branch(step, model, conversation).",
            )
    tasks = [
        asyncio.create_task(run.ask(b.model, b.conversation, step=b.step, timeout_s=timeout_s))
        for b in branches
    ]
    try:
        await _gather(tasks, quorum, grace_s, timeout_s)
    finally:
        for task in tasks:
            task.cancel()
    answers: list[tuple[Branch, Reply]] = []
    failures: list[tuple[Branch, ModelError]] = []
    for branch, task in zip(branches, tasks, strict=True):
        outcome = _outcome(task)
        if isinstance(outcome, Reply):
            answers.append((branch, outcome))
            continue
        failures.append((branch, outcome))
        run.note(
            "branch failed",
            step=branch.step,
            model=branch.model,
            kind=outcome.kind,
            message=outcome.message,
        )
    return Panel(tuple(answers), tuple(failures))


async def _gather(
    tasks: Sequence["asyncio.Task[Reply]"], quorum: int, grace_s: float, timeout_s: float
) -> None:
    """Wait until all tasks have ended, or ``grace_s`` after the quorum, or ``timeout_s``."""
    news = asyncio.Event()
    for task in tasks:
        task.add_done_callback(lambda _: news.set())
    clock = asyncio.get_running_loop().time
    ends = clock() + timeout_s
    in_grace = False
    while not all(task.done() for task in tasks) and (left := ends - clock()) > 0:
        news.clear()
        try:
            async with asyncio.timeout(left):
                await news.wait()
        except TimeoutError:
            return
        answered = sum(1 for t in tasks if t.done() and isinstance(_outcome(t), Reply))
        if answered >= quorum and not in_grace:
            in_grace = True
            ends = min(ends, clock() + grace_s)


def _outcome(task: "asyncio.Task[Reply]") -> Reply | ModelError:
    """Return the result of a panel's task; a task that is still running has timed out."""
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
