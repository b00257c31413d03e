"""No field of a request makes a running server connect to its own network."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.attack.conftest import Target
from tests.attack.picture_site import Site, listening, say_picture
from tests.programs.processes import running

KEY = "attack-key"


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    async with listening(say_picture) as site:
        yield site


@pytest.fixture(scope="module")
def inlining(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A server that fetches all URLs, because its providers do not."""
    folder = tmp_path_factory.mktemp("inlining")
    tables = [
        f'[providers.{protocol}]\nprotocol = "{protocol}"\n'
        'base_url = "http://127.0.0.1:9/v1"\ninline_urls = true\n'
        for protocol in ("chat", "responses", "messages")
    ]
    (folder / "polyvox.toml").write_text("\n".join(tables), "utf-8")
    data = folder / "data"
    arguments = ("up", "--port", "0", "--data", str(data))
    with running(*arguments, folder=folder, environ={"POLYVOX_KEY": KEY}) as child:
        yield Target(child.ready(), child.base_url, data, KEY)


def chat_image(url: str) -> tuple[str, dict[str, Any]]:
    part = {"type": "image_url", "image_url": {"url": url}}
    return "/v1/chat/completions", {"messages": [{"role": "user", "content": [part]}]}


def responses_image(url: str) -> tuple[str, dict[str, Any]]:
    part = {"type": "input_image", "image_url": url}
    return "/v1/responses", {"input": [{"role": "user", "content": [part]}]}


def responses_file(url: str) -> tuple[str, dict[str, Any]]:
    part = {"type": "input_file", "file_url": url}
    return "/v1/responses", {"input": [{"role": "user", "content": [part]}]}


def responses_tool_result(url: str) -> tuple[str, dict[str, Any]]:
    call = {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"}
    output = [{"type": "input_image", "image_url": url}]
    result = {"type": "function_call_output", "call_id": "c", "output": output}
    return "/v1/responses", {"input": [call, result]}


def messages_image(url: str) -> tuple[str, dict[str, Any]]:
    return _messages([{"type": "image", "source": {"type": "url", "url": url}}])


def messages_document(url: str) -> tuple[str, dict[str, Any]]:
    return _messages([{"type": "document", "source": {"type": "url", "url": url}}])


def messages_tool_result(url: str) -> tuple[str, dict[str, Any]]:
    document = {"type": "document", "source": {"type": "url", "url": url}}
    return _messages([{"type": "tool_result", "tool_use_id": "t", "content": [document]}])


def _messages(content: list[dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    use = {"type": "tool_use", "id": "t", "name": "look", "input": {}}
    turns = [
        {"role": "user", "content": "look"},
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": content},
    ]
    return "/v1/messages", {"max_tokens": 100, "messages": turns}


DOORS = (
    chat_image,
    responses_image,
    responses_file,
    responses_tool_result,
    messages_image,
    messages_document,
    messages_tool_result,
)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("provider", ["chat", "responses", "messages"])
@pytest.mark.parametrize("door", DOORS)
async def test_no_field_of_a_request_leads_inward(
    inlining: Target,
    site: Site,
    door: Callable[[str], tuple[str, dict[str, Any]]],
    provider: str,
    stream: bool,
) -> None:
    """Images, files and documents, also those in tool results, in all three protocols."""
    path, document = door(f"http://①②⑦.0.0.1:{site.port}/inward")
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        said = await client.post(
            inlining.base_url + path,
            json={"model": f"{provider}:any", "stream": stream, **document},
            headers={"x-api-key": KEY},
        )
    assert said.status_code == 400, said.text
    assert "has no public address" in said.text
    assert site.connections == 0
