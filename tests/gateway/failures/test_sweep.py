"""The sweep of a running program settles what dead processes left, and nothing of living ones."""

from dataclasses import replace
from datetime import UTC, datetime

from polyvox.activities.ledger.processes import Processes
from polyvox.activities.ledger.tables import RunRecord
from polyvox.worker.recovery.sweep import is_process
from polyvox.worker.runs.start import new_run_id
from tests.activities.ledger.test_attempts import BEGUN, RUN
from tests.programs.running import Live, until


def run_of(live: Live, run_id: str) -> RunRecord:
    found = live.run(live.program.runtime.ledger.run(run_id))
    assert found is not None
    return found


def test_only_what_dead_processes_left_is_settled(live: Live) -> None:
    """A run that its dead process never started has failed; a living process may yet start its."""
    left, held = new_run_id(), new_run_id()
    runtime = live.program.runtime
    database = runtime.ledger._engine
    now = datetime.now(UTC)

    async def leave_runs() -> Processes:
        living = Processes(database, version="1")
        await living.register()
        for run_id, process in ((left, "p_dead"), (held, living.process_id)):
            begun = replace(RUN, run_id=run_id, started_at=now, listener=process, key_id=None)
            await runtime.ledger.store(begun)
            await runtime.ledger.store(replace(BEGUN, run_id=run_id, process=process))
        return living

    living = live.run(leave_runs())
    until(lambda: run_of(live, left).status != "running", "the run of the dead process is left")
    assert run_of(live, left).status == "failed"
    assert run_of(live, held).status == "running"
    assert run_of(live, held).calls[0].status == "running"
    live.run(living.leave())
    until(lambda: run_of(live, held).status != "running", "the run is left after its process")


def test_the_engine_knows_which_process_has_a_call(live: Live) -> None:
    runtime = live.program.runtime
    assert runtime.client.identity == runtime.process_id
    assert is_process(runtime.process_id)
    assert not is_process("4711@host")
