"""An answer of a provider that was asked for less is held against what the client asked for."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from polyvox.worker.engine.ports import free_port
from polyvox.workflows.conversation import Json
from tests.programs.running import ENVIRON, PROTOCOLS, Live, live_program
from tests.programs.scripted_answers import Scripted, messages_answer, scripted

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 5}},
    "required": ["name"],
    "additionalProperties": False,
}
RIGHT, WRONG = '{"name": "Ann"}', '{"name": "Annabelle"}'


class _Answers:
    """A wrong answer, then as many as the model's name says, then right ones."""

    def __init__(self) -> None:
        self.given: dict[str, int] = {}

    def __call__(self, body: Json) -> list[Json]:
        model = body["model"]
        count = self.given[model] = self.given.get(model, 0) + 1
        wrong = int(model.rpartition("-")[2])
        return messages_answer({"type": "text", "text": WRONG if count <= wrong else RIGHT})


@contextmanager
def program(folder: Path, provider: Scripted) -> Iterator[Live]:
    environ = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **ENVIRON}
    more = f'[providers.scripted]\nprotocol = "messages"\nbase_url = "{provider.url}"\n'
    with live_program(folder, f"http://127.0.0.1:{free_port()}/v1", environ, more) as live:
        yield live


def request(protocol: str, model: str, *, strict: bool, stream: bool = False) -> Json:
    question = [{"role": "user", "content": "Who?"}]
    form = {"name": "person", "strict": strict, "schema": SCHEMA}
    body: Json = {"model": f"scripted:{model}", "stream": stream}
    match protocol:
        case "chat":
            form = {"type": "json_schema", "json_schema": form}
            return {**body, "messages": question, "response_format": form}
        case "responses":
            return {**body, "input": question, "text": {"format": {"type": "json_schema", **form}}}
        case _:
            form = {"type": "json_schema", "schema": SCHEMA}
            messages = {**body, "messages": question, "max_tokens": 99}
            return {**messages, "output_config": {"format": form}}


def test_an_answer_is_checked_against_the_original_schema(tmp_path: Path) -> None:
    """A strict one is asked for again, and an error in the end; another is a named loss."""
    answers = _Answers()
    with scripted(answers) as provider, program(tmp_path, provider) as live:
        for protocol in PROTOCOLS:
            right = live.post(
                protocol, request(protocol, f"claude-opus-4-8-{protocol}-0", strict=True)
            )
            assert right.status_code == 200, right.text
            assert "fitted to the provider" in right.headers["x-polyvox-losses"]

            loose = live.post(
                protocol, request(protocol, f"claude-opus-4-8-{protocol}1-9", strict=False)
            )
            assert loose.status_code == 200
            run = live.ended(loose.headers["x-polyvox-run"])
            assert any("does not match" in loss or "too long" in loss for loss in run["losses"])

        for protocol in ("chat", "responses"):
            again = f"claude-opus-4-8-{protocol}2-1"
            answer = live.post(protocol, request(protocol, again, strict=True))
            assert answer.status_code == 200
            assert "Annabelle" not in answer.text
            assert answers.given[again] == 2

            never = f"claude-opus-4-8-{protocol}3-99"
            answer = live.post(protocol, request(protocol, never, strict=True))
            assert answer.status_code == 502
            assert "too long" in answer.text

            streamed = f"claude-opus-4-8-{protocol}4-99"
            answer = live.post(protocol, request(protocol, streamed, strict=True, stream=True))
            assert "too long" in answer.text, "the text was shown, so it ends with an error"
            assert answers.given[streamed] == 1
