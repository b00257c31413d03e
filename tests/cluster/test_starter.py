"""``make cluster``: what it prints, and that nothing is left behind."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.programs.processes import family_of, living
from tests.programs.running import until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
READY = "Ctrl-C ends all processes"
GONE_S = 10.0


@contextmanager
def starter() -> "Iterator[tuple[subprocess.Popen[str], str]]":
    """Run ``make cluster``'s program until it is ready; yield it and what it printed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.cluster", "--shape", "replicas"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    output = process.stdout
    assert output is not None
    try:
        printed = ""
        while READY not in printed:
            line = output.readline()
            assert line, printed
            printed += line
        yield process, printed
    finally:
        process.kill()
        process.wait()
        output.close()


def value(printed: str, name: str) -> str:
    found = re.search(rf"^  {name} +(\S+)", printed, re.M)
    assert found, printed
    return found[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_runs_after_the_starter(number: signal.Signals) -> None:
    """Also after kill -9, when the program itself can do nothing."""
    with starter() as (process, printed):
        answer = httpx.get(
            f"{value(printed, 'Base URL')}/v1/models",
            headers={"x-api-key": value(printed, "Key")},
            trust_env=False,
        )
        assert answer.is_success
        folder = Path(value(printed, "Logs")).parent
        assert folder.is_dir()
        members = family_of(process.pid) - {process.pid}
        assert len(members) > 5
        process.send_signal(number)
        status = process.wait(GONE_S)
        assert status == (-number if number == signal.SIGKILL else 0)
    until(lambda: not living(members), "members run after the program that started them")
    # After kill -9 the next start deletes the folder.
    assert folder.exists() == (number == signal.SIGKILL)
