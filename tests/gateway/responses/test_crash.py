"""What becomes of background responses when the program is killed in the middle of them."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.programs.clients import Client
from tests.programs.processes import Child, running
from tests.programs.running import KEY, until

ENDED = ("completed", "failed", "incomplete", "cancelled")


@contextmanager
def program(folder: Path) -> Iterator[Child]:
    """The program with its data in ``folder``; a second one there goes on where it was killed."""
    arguments = ("up", "--port", "0", "--data", str(folder / "data"))
    with running(*arguments, folder=folder, environ={"POLYVOX_KEY": KEY}) as child:
        yield child.ready()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("killed", [True, False], ids=["killed", "stopped"])
def test_background_responses_outlive_the_program(tmp_path: Path, killed: bool) -> None:
    """Ended in mid-answer and started again, the program completes them, polled and streamed.

    The stream goes on behind what the client has, with the numbers that follow and the same ids.
    """
    with ExitStack() as stack:
        first = stack.enter_context(program(tmp_path))
        client = Client("responses", first.base_url)
        stack.callback(client.close)
        model = "simulator:main-itl40-n60"
        polled = client.sdk.responses.create(model=model, input="hi", background=True)
        stream = client.sdk.responses.create(model=model, input="hi", background=True, stream=True)
        seen = [next(stream) for _ in range(45)]
        if killed:
            first.kill()
            with pytest.raises((httpx.HTTPError, openai.APIError)):
                list(stream)
        else:
            stream.close()
            assert first.stop() == 0

        second = stack.enter_context(program(tmp_path))
        again = Client("responses", second.base_url)
        stack.callback(again.close)
        response_id = seen[0].response.id
        assert again.sdk.responses.retrieve(polled.id).status in ("in_progress", "completed")
        replayed = list(again.sdk.responses.retrieve(response_id, stream=True))
        assert [event.sequence_number for event in replayed] == list(range(len(replayed)))
        assert replayed[: len(seen)] == seen
        last = replayed[-1]
        assert last.type == "response.completed"
        items = {e.item.id for e in replayed if e.type == "response.output_item.added"}
        assert items == {item.id for item in last.response.output}
        said = "".join(e.delta for e in replayed if e.type == "response.output_text.delta")
        assert said == last.response.output_text

        def look() -> Any:
            response = again.sdk.responses.retrieve(polled.id)
            return response if response.status in ENDED else None

        response = until(look, "the polled response has not ended")
        assert response.status == "completed"
        assert response.output_text == said
        assert again.sdk.responses.retrieve(response_id).output_text == said
        then = again.sdk.responses.create(
            model="simulated", input="hello there", previous_response_id=polled.id
        )
        assert "turn 2" in then.output_text.lower()
        assert second.stop() == 0
