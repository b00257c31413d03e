"""A run that is watched while its program is killed and started again."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.programs.processes import Child, command, running
from tests.programs.run_events import follow, text_of
from tests.programs.running import KEY, until


@contextmanager
def program(folder: Path) -> Iterator[Child]:
    """The program with its data in ``folder``."""
    arguments = ("up", "--port", "0", "--data", str(folder / "data"))
    with running(*arguments, folder=folder, environ={"POLYVOX_KEY": KEY}) as child:
        yield child.ready()


def watched(folder: Path, run_id: str) -> list[Any]:
    """Return the events that the command line, another process, reads to the run's end."""
    data = str(folder / "data")
    done = command("runs", "watch", run_id, "--json", "--data", data)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.timeout(180)
def test_the_events_go_on_in_the_next_program(tmp_path: Path) -> None:
    """The killed attempt's text is void; a client goes on behind the last event that it has."""
    with ExitStack() as stack:
        first = stack.enter_context(program(tmp_path))
        asked = {"model": "simulator:main-itl50-n80", "input": "hi", "background": True}
        headers = {"x-api-key": KEY}
        url = f"{first.base_url}/v1/responses"
        answer = httpx.post(url, json=asked, headers=headers, timeout=60, trust_env=False)
        run_id = answer.headers["x-polyvox-run"]
        shown_at = f"{first.base_url}/api/runs/{run_id}"

        def begun() -> bool | None:
            return httpx.get(shown_at, headers=headers, trust_env=False).is_success or None

        until(begun, "the run has not begun")
        seen: list[Any] = []
        for event in follow(first.base_url, run_id, KEY):
            seen.append(event)
            if len([event for event in seen if event["type"] == "text"]) == 2:
                break
        first.kill()

        second = stack.enter_context(program(tmp_path))
        last = {"last-event-id": seen[-1]["id"]}
        events = [*seen, *follow(second.base_url, run_id, KEY, **last)]
        (void,) = [event for event in events if event["type"] == "text_void"]
        assert (void["attempt"], void["why"]) == (2, "another attempt")
        assert {event["attempt"] for event in events if event["type"] == "text"} == {1, 2}
        end = events[-1]
        assert (end["type"], end["status"]) == ("run_ended", "completed")
        assert end["text"] == text_of(events)
        assert list(follow(second.base_url, run_id, KEY)) == events
        assert watched(tmp_path, run_id) == events
        data = str(tmp_path / "data")
        shown = command("runs", "watch", "last", "--data", data).stdout
        assert "attempt 2: the text above is void" in shown
        assert "main  asks simulator:main-itl50-n80" in shown
        replayed = command("runs", "replay", run_id, "--data", data)
        assert replayed.returncode == 0, replayed.stdout
