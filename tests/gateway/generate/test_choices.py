"""``n`` of Chat: as many answers as the client wants, each a run of its own."""

from typing import Any

import httpx
import openai
import orjson
import pytest

from tests.gateway.generate.test_leaving import is_cancelled
from tests.programs.clients import Client
from tests.programs.running import KEY, PATHS, PROTOCOLS, Live, until

HELLO = [{"role": "user", "content": "hello there"}]


def body(model: str, **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": HELLO, "n": 3, **fields}


def runs_of(answer: httpx.Response) -> list[str]:
    return answer.headers["x-polyvox-runs"].split(", ")


def chunks_of(answer: httpx.Response) -> list[dict[str, Any]]:
    *frames, done, rest = [f for f in answer.text.split("\n\n") if not f.startswith(":")]
    assert (done, rest) == ("data: [DONE]", "")
    return [orjson.loads(frame.removeprefix("data: ")) for frame in frames]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_choice_is_a_run_and_their_usage_is_summed(live: Live, protocol: str) -> None:
    """The provider is asked as often, for one answer each, whatever it speaks."""
    model = f"sim-{protocol}:main-idchoices"
    one = live.post("chat", body(model, n=1)).json()["usage"]
    answer = live.post("chat", body(model))
    said = answer.json()
    assert [choice["index"] for choice in said["choices"]] == [0, 1, 2]
    assert len({choice["message"]["content"] for choice in said["choices"]}) == 1
    for meter in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert said["usage"][meter] == 3 * one[meter]
    assert len(set(runs_of(answer))) == 3
    for run_id in runs_of(answer):
        assert live.ended(run_id)["status"] == "completed"
    assert said["id"] == f"chatcmpl-{answer.headers['x-polyvox-run']}"


@pytest.mark.parametrize("model", ["sim-chat:main-itl5", "sim-messages:main-itl5", "panel-auto"])
def test_a_stream_interleaves_the_choices(live: Live, model: str) -> None:
    """Every chunk says whose it is; all say the same of the answer; the usage comes once."""
    answer = live.post("chat", body(model, stream=True, stream_options={"include_usage": True}))
    chunks = chunks_of(answer)
    whole = live.post("chat", body(model)).json()
    assert len({(c["id"], c["created"], c["model"]) for c in chunks}) == 1
    *said, last = chunks
    openings = list(dict.fromkeys(chunk["choices"][0]["index"] for chunk in said))
    assert openings == [0, 1, 2], "the library wants them to begin in this order"
    assert last["choices"] == []
    assert last["usage"] == whole["usage"]
    for choice in whole["choices"]:
        own = [c["choices"][0] for c in said if c["choices"][0]["index"] == choice["index"]]
        text = "".join(piece["delta"].get("content") or "" for piece in own)
        assert text == choice["message"]["content"]
        assert [p["finish_reason"] for p in own if p["finish_reason"]] == ["stop"]
        assert own[0]["delta"]["role"] == "assistant"


def test_the_library_reads_the_choices_of_a_stream(live: Live) -> None:
    client = Client("chat", live.base_url)
    with client.sdk.chat.completions.stream(model="plain-chat", messages=HELLO, n=2) as stream:
        said = stream.get_final_completion()
    client.close()
    first, second = said.choices
    assert first.message.content == second.message.content != ""


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_one_that_fails_fails_the_request(live: Live, stream: bool) -> None:
    """With its status, and without leaving the others to run on."""
    name = f"main-err400x1-n500-itl100-idonefails{stream}"
    answer = live.post("chat", body(f"sim-chat:{name}", stream=stream))
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    run_ids = runs_of(answer)
    ends = {run_id: live.ended(run_id)["status"] for run_id in run_ids}
    assert sorted(ends.values()) == ["cancelled", "cancelled", "failed"]
    [failed] = [run_id for run_id, status in ends.items() if status == "failed"]
    assert failed in answer.json()["error"]["message"]


def test_one_that_breaks_off_ends_the_stream_with_an_error(live: Live) -> None:
    """No choice gets a finish reason then, and there is no end mark."""
    name = "main-n400-itl5-cut200x1-idbreaks"
    answer = live.post("chat", body(f"sim-chat:{name}", stream=True))
    assert answer.status_code == 200
    last = answer.text.rstrip("\n").split("\n\n")[-1]
    assert orjson.loads(last.removeprefix("data: "))["error"]["code"] == "stream_cut"
    assert "[DONE]" not in answer.text
    until(
        lambda: all(live.ended(run)["status"] != "running" for run in runs_of(answer)),
        "the other choices go on",
    )


def test_a_client_that_leaves_ends_all_of_them(live: Live) -> None:
    """In the engine and at the provider."""
    name = "main-n500-itl100-idleaveschoices"
    with httpx.stream(
        "POST",
        live.base_url + PATHS["chat"],
        json=body(f"sim-chat:{name}", stream=True),
        headers={"x-api-key": KEY},
        trust_env=False,
    ) as answer:
        run_ids = runs_of(answer)
        next(answer.iter_raw())
    for run_id in run_ids:
        is_cancelled(live, run_id)
    until(lambda: live.seen()["disconnects"].get(name) == 3, "a stream is still open upstream")


def test_a_seed_is_another_for_each(live: Live) -> None:
    """Or all the answers would be the same."""
    client = Client("chat", live.base_url)
    model = "main-idseeds"
    client.sdk.chat.completions.create(model=f"sim-chat:{model}", messages=HELLO, n=2, seed=7)
    client.close()
    url = f"{live.simulator.url}/requests"
    seen = httpx.get(url, params={"model": model}, trust_env=False).json()["requests"]
    assert sorted(request["body"]["seed"] for request in seen) == [7, 8]
    assert not any("n" in request["body"] for request in seen)


def test_too_many_are_refused(live: Live) -> None:
    """The limit is named, because each is a run that is paid."""
    client = Client("chat", live.base_url)
    with pytest.raises(openai.BadRequestError, match="1 to 16") as refused:
        client.sdk.chat.completions.create(model="plain-chat", messages=HELLO, n=17)
    client.close()
    assert refused.value.param == "n"
