"""What the official libraries get that send a request again after the gateway was killed."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest

from polyvox.worker.engine.ports import free_port
from tests.gateway.test_processes import asked_for, run_document
from tests.programs.processes import Child, running
from tests.programs.running import KEY, LIMIT_S, until

pytestmark = pytest.mark.timeout(180)

RETRIES = 30


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[Child]:
    with running("simulate", "--port", "0", folder=tmp_path) as child:
        yield child


class Gateway:
    """``polyvox up`` on one data folder and one port, each time it is started."""

    def __init__(self, folder: Path, simulator: Child) -> None:
        self._folder = folder
        self._port = str(free_port())
        url = simulator.printed(r"at (http\S+)")
        config = folder / "polyvox.toml"
        config.write_text(f'[providers.sim]\nprotocol = "chat"\nbase_url = "{url}"\n', "utf-8")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def up(self) -> Any:
        arguments = ("up", "--data", "data", "--config", "polyvox.toml", "--port", self._port)
        return running(*arguments, folder=self._folder, environ={"POLYVOX_KEY": KEY})


def said_by(url: str, protocol: str, model: str, *, stream: bool) -> str:
    """Ask with the official library of a protocol, which tries again as often as it may."""
    if protocol == "messages":
        return _said_by_claude(url, model, stream=stream)
    with openai.OpenAI(
        api_key=KEY,
        base_url=f"{url}/v1",
        max_retries=RETRIES,
        http_client=openai.DefaultHttpxClient(trust_env=False),
    ) as client:
        return _said_by_openai(client, protocol, model, stream=stream)


def _said_by_claude(url: str, model: str, *, stream: bool) -> str:
    with anthropic.Anthropic(
        api_key=KEY,
        base_url=url,
        max_retries=RETRIES,
        http_client=anthropic.DefaultHttpxClient(trust_env=False),
    ) as claude:
        asked: Any = {
            "model": model,
            "max_tokens": 500,
            "messages": [{"role": "user", "content": "hello"}],
        }
        if stream:
            with claude.messages.stream(**asked) as events:
                return events.get_final_text()
        return str(claude.messages.create(**asked).content[0].text)


def _said_by_openai(client: openai.OpenAI, protocol: str, model: str, *, stream: bool) -> str:
    if protocol == "responses":
        if stream:
            *_, last = client.responses.create(model=model, input="hello", stream=True)
            return str(last.response.output_text)  # type: ignore[union-attr]
        return client.responses.create(model=model, input="hello").output_text
    words: Any = [{"role": "user", "content": "hello"}]
    if stream:
        chunks = client.chat.completions.create(model=model, messages=words, stream=True)
        return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    answer = client.chat.completions.create(model=model, messages=words)
    return answer.choices[0].message.content or ""


@pytest.mark.parametrize(
    ("protocol", "stream"), [("chat", True), ("responses", False), ("messages", True)]
)
def test_a_killed_gateway_does_not_begin_the_run_again(
    tmp_path: Path, simulator: Child, protocol: str, stream: bool
) -> None:
    """Killed before the first byte and started again: the same run answers the library's retry.

    Its call, which was cut, is repeated; no second run is bought.
    """
    gateway = Gateway(tmp_path, simulator)
    with ThreadPoolExecutor(1) as pool:
        with gateway.up() as child:
            child.ready()
            model = "main-ttft3000"
            asking = pool.submit(said_by, gateway.url, protocol, f"sim:{model}", stream=stream)
            until(lambda: asked_for(simulator, model) or None, "the model was not asked")
            until(lambda: run_document(child, "").get("runs"), "the run is not recorded")
            child.kill()
        with gateway.up() as again:
            again.ready()
            assert asking.result(LIMIT_S)
            (run,) = run_document(again, "")["runs"]
            run = run_document(again, f"/{run['run_id']}")
            assert run["status"] == "completed"
            assert [c["status"] for c in run["calls"]] == ["interrupted", "completed"]
            assert asked_for(simulator, model) == 2
            assert again.stop() == 0


def test_an_agent_that_marks_nothing_gets_its_run_too(tmp_path: Path, simulator: Child) -> None:
    """At the start it is known whose client is gone; one request adopts each of these runs."""
    gateway = Gateway(tmp_path, simulator)
    asked = {"model": "sim:main-ttft2000", "messages": [{"role": "user", "content": "hello"}]}

    def post() -> httpx.Response:
        return httpx.post(
            f"{gateway.url}/v1/chat/completions",
            json=asked,
            headers={"x-api-key": KEY},
            timeout=LIMIT_S,
            trust_env=False,
        )

    with ThreadPoolExecutor(3) as pool:
        with gateway.up() as child:
            child.ready()
            cut = [pool.submit(post), pool.submit(post)]
            until(lambda: asked_for(simulator, "main-ttft2000") == 2 or None, "not both have asked")
            runs = until(
                lambda: found if len(found := run_document(child, "")["runs"]) == 2 else None,
                "the runs are not recorded",
            )
            child.kill()
            for one in cut:
                with pytest.raises(httpx.TransportError):
                    one.result()
        with gateway.up() as again:
            again.ready()
            answers = [one.result() for one in [pool.submit(post) for _ in range(3)]]
            ids = [answer.headers["x-polyvox-run"] for answer in answers]
            assert len(set(ids)) == 3
            assert {run["run_id"] for run in runs} < set(ids)
            assert again.stop() == 0


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_stored_answer_is_found_although_nobody_asked_again(
    tmp_path: Path, simulator: Child, stream: bool
) -> None:
    """Its row is written at the beginning; whoever reads it after the run's end writes the end."""
    gateway = Gateway(tmp_path, simulator)
    asked = {"model": "sim:main-ttft1000", "input": "hello", "stream": stream}
    http = httpx.Client(
        base_url=gateway.url, headers={"x-api-key": KEY}, timeout=LIMIT_S, trust_env=False
    )
    with http, ThreadPoolExecutor(1) as pool:
        with gateway.up() as child:
            child.ready()
            cut = pool.submit(http.post, "/v1/responses", json=asked)
            until(lambda: asked_for(simulator, "main-ttft1000") or None, "the model was not asked")
            (run,) = until(lambda: run_document(child, "").get("runs"), "the run is not recorded")
            path = f"/v1/responses/resp_{run['run_id']}"
            begun = httpx.get(gateway.url + path, headers={"x-api-key": KEY}, trust_env=False)
            assert begun.json()["status"] == "in_progress"
            child.kill()
            with pytest.raises(httpx.TransportError):
                cut.result()
        with gateway.up() as again:
            again.ready()

            def look() -> Any:
                found = http.get(path)
                assert found.status_code == 200
                return found.json() if found.json()["status"] != "in_progress" else None

            response = until(look, "the response has not ended")
            assert response["status"] == "completed"
            then = {**asked, "stream": False, "previous_response_id": response["id"]}
            assert "turn 2" in str(http.post("/v1/responses", json=then).json()).lower()
            assert again.stop() == 0
