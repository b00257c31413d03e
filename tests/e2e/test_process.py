"""Running a client's process, without a real client."""

import sys
from pathlib import Path

import pytest

from tests.e2e.headless.process import Stuck, environment, run


async def test_a_client_that_hangs_says_where_it_stands(tmp_path: Path) -> None:
    """The process is killed, and its report after SIGUSR2 is kept."""
    waits = "import faulthandler, signal; faulthandler.register(signal.SIGUSR2); signal.pause()"
    with pytest.raises(Stuck) as stuck:
        await run(
            [sys.executable, "-c", waits],
            environment=environment(tmp_path / "home", {}),
            cwd=tmp_path,
            timeout_s=3.0,
        )
    assert 'File "<string>", line 1 in <module>' in stuck.value.ended.stderr
