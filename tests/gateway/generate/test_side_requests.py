"""Requests that agents make beside the conversation go to one model, in every protocol."""

from typing import Any

import httpx
import pytest

from tests.gateway.generate.test_failures import request
from tests.programs.commands import refused, told
from tests.programs.running import PROTOCOLS, Live

TITLE = "Please write a 5-10 word title for the following conversation:\n\nUser: hello"
PANEL = (
    "--flow=fusion",
    "--param=main=sim-chat:main",
    "--param=judge=sim-chat:judge",
    "--param=mode=required",
    '--param=panel=["sim-chat:optimist", "sim-chat:skeptic"]',
)


def run_of(live: Live, answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return live.ended(answer.headers["x-polyvox-run"])


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_title_does_not_ask_the_panel(live: Live, protocol: str, stream: bool) -> None:
    """Without configuration the main model alone writes it, and the trace says why."""
    run = run_of(
        live, live.post(protocol, request(protocol, "panel-required", stream=stream, text=TITLE))
    )
    assert [(c["step"], c["provider"], c["model"]) for c in run["calls"]] == [
        ("main", "sim-chat", "main")
    ]
    assert (run["model"], run["flow"]) == ("panel-required", "direct@1")
    assert run["notes"] == [{"what": "request beside the conversation", "kind": "title"}]


def test_the_conversation_itself_asks_the_panel(live: Live) -> None:
    asked = request("chat", "panel-required", stream=False, text="Write a title for my talk.")
    run = live.ended(live.post("chat", asked).headers["x-polyvox-run"], 5)
    assert run["flow"] == "fusion@1"
    assert len(run["calls"]) == 5


def test_a_header_of_the_agent_decides_too(live: Live) -> None:
    asked = request("messages", "panel-required", stream=False, text="What changed?")
    headers = {"x-claude-code-request-class": "auxiliary"}
    run = run_of(live, live.post("messages", asked, headers=headers))
    assert len(run["calls"]) == 1
    assert run["notes"][0]["kind"] == "auxiliary"


@pytest.mark.parametrize(
    ("side", "flow", "model"),
    [("sim-messages:skeptic", "direct@1", "skeptic"), ("plain-responses", "direct@1", "main")],
)
def test_the_parameter_side_names_what_answers(
    live: Live, side: str, flow: str, model: str
) -> None:
    """A model, or another virtual model; the flow itself does not get the parameter."""
    name = f"aside-{model}"
    told(live, "models", "set", name, *PANEL, f"--param=side={side}")
    run = run_of(live, live.post("chat", request("chat", name, stream=False, text=TITLE)))
    assert (run["model"], run["flow"]) == (name, flow)
    assert [call["model"] for call in run["calls"]] == [model]
    usual = request("chat", name, stream=False, text="Should we cache?")
    run = live.ended(live.post("chat", usual).headers["x-polyvox-run"], 4)
    assert run["flow"] == "fusion@1"


@pytest.mark.parametrize(
    ("side", "says"),
    [
        ("nowhere:model", "params.side: 'nowhere:model' names no known provider"),
        ("no-such-model", "params.side: No model named 'no-such-model'"),
        ("a b", "params.side: must be a model of the form provider:model or the name of a"),
    ],
)
def test_a_side_that_cannot_answer_is_refused(live: Live, side: str, says: str) -> None:
    assert says in refused(live, "models", "set", "aside-wrong", *PANEL, f"--param=side={side}")
