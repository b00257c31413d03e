"""Flows that attack the processes in which they are tried before registration."""

import os
from pathlib import Path

import pytest

from polyvox.worker.registering import dry_run
from polyvox.worker.registering.dry_run import DryRuns, Task
from polyvox.worker.registering.registration import examine
from polyvox.workflows.flow import FlowError
from tests.attack.escape import CANARY, SOURCE

LIMITED = (
    "import polyvox.worker.registering.dry_run_child as child, sys, os, json; "
    "child._limit(); json.load(sys.stdin); {}"
)

# The kernel does not limit root's processes.
NOBODY = "os.setuid(65534); " if os.getuid() == 0 else ""


def refusal(program: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return why a flow whose dry run executes ``program`` is refused."""
    monkeypatch.setattr(dry_run, "_PROGRAM", program)
    with DryRuns() as ready, pytest.raises(FlowError) as caught:
        ready.run(Task("", "flow.py"), twice=False)
    return str(caught.value)


def test_a_dry_run_gets_nothing_of_the_servers_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's environment contains the providers' keys."""
    monkeypatch.setenv(CANARY, "canary-of-the-environment")
    said = refusal(LIMITED.format("sys.exit(repr(dict(os.environ)))"), monkeypatch)
    assert "the dry run failed" in said
    assert "canary" not in said
    with DryRuns() as ready:
        (process,) = ready._processes
        assert "canary" not in Path(f"/proc/{process.pid}/environ").read_text("utf-8")


def test_a_dry_run_that_says_too_much_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server reads only as much as a report may have."""
    endless = "[os.write(1, b'x' * 65536) for _ in iter(int, 1)]"
    assert "printed more than 16 MiB" in refusal(LIMITED.format(endless), monkeypatch)


def test_a_dry_run_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """This includes the processes it started."""
    monkeypatch.setattr(dry_run, "LIMIT_S", 2.0)
    waits = "import time; time.sleep(600)"
    assert "took more than 2 s" in refusal(LIMITED.format(waits), monkeypatch)


@pytest.mark.parametrize(
    ("hostile", "error"),
    [
        ("bytearray(4 << 30)", "MemoryError"),
        ("os.write(os.open('written', os.O_CREAT | os.O_WRONLY), b'x')", "File too large"),
        ("[os.open('/', os.O_RDONLY) for _ in range(100)]", "Too many open files"),
        (f"{NOBODY}os.fork()", "Resource temporarily unavailable"),
        (f"{NOBODY}import threading; threading.Thread(target=print).start()", "new thread"),
    ],
)
def test_a_dry_run_cannot_take_the_hosts_resources(
    hostile: str, error: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Memory, disk, files and processes are limited; the limits cannot be raised again."""
    folder = f"os.chdir({str(tmp_path)!r}); "
    assert error in refusal(LIMITED.format(folder + hostile), monkeypatch)
    assert all(file.stat().st_size == 0 for file in tmp_path.iterdir())


def test_a_flow_that_wants_all_memory_is_refused() -> None:
    """This applies to its import and its run."""
    for top, body in [("KEPT = bytearray(4 << 30)", "    pass"), ("", "    bytearray(4 << 30)")]:
        with pytest.raises(FlowError, match="MemoryError"):
            examine(SOURCE.format(top=top, body=body), "flow.py")
