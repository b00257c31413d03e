"""A start that a frozen engine does not acknowledge: refused and never run, or adopted."""

import os
import signal

from polyvox.worker.runs.start import RunRequest, new_run_id
from polyvox.workflows.conversation import Conversation, user
from polyvox.workflows.errors import ModelError
from tests.programs.running import Live, until


def test_a_run_that_was_refused_is_cancelled_when_the_engine_continues(live: Live) -> None:
    """Its client was told that it did not start, so its provider is never asked."""
    name, run_id = "main-n1-idfrozen", new_run_id()
    runtime = live.program.runtime
    wanted = RunRequest(
        run_id, f"sim-chat:{name}", "chat", Conversation((user("hello"),)), False, "key"
    )

    async def refused() -> ModelError:
        try:
            await runtime.runs.start(wanted)
        except ModelError as error:
            return error
        raise AssertionError("a frozen engine has started a run")

    pid = runtime.engine.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        error = live.run(refused())
    finally:
        os.kill(pid, signal.SIGCONT)
    assert error.kind == "overloaded"
    until(lambda: not runtime.runs.uncertain._ending, "nobody is sure about the run")
    assert name not in live.seen()["requests"]


def test_a_run_that_the_engine_has_is_adopted(live: Live) -> None:
    """It is found by its id, and is the client's like any other."""
    run_id = new_run_id()
    runtime = live.program.runtime
    model = "sim-chat:main-stall0-idadopted"
    wanted = RunRequest(run_id, model, "chat", Conversation((user("hello"),)), False, "key")

    async def adopted() -> None:
        await runtime.runs.start(wanted)
        handle = await runtime.runs.uncertain.adopted(run_id)
        assert handle is not None
        await runtime.runs.find(run_id).cancel()
        await runtime.runs.find(run_id).outcome()
        assert await runtime.runs.uncertain.adopted(run_id) is None
        assert await runtime.runs.uncertain.adopted("run_unknown") is None

    live.run(adopted())
