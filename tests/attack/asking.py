"""Requests to the server under attack."""

import json
import subprocess
from typing import Any

import httpx

from tests.attack.conftest import Target
from tests.programs.processes import EXECUTABLE

WAIT_S = 60.0


def call(
    target: Target, method: str, path: str, key: str, document: Any = None, **options: Any
) -> httpx.Response:
    """Send one request with ``key`` and return the whole answer."""
    if document is not None:
        options["json"] = document
    return httpx.request(
        method,
        f"{target.base_url}{path}",
        headers={"x-api-key": key, **options.pop("headers", {})},
        timeout=WAIT_S,
        trust_env=False,
        **options,
    )


def polyvox(target: Target, *words: str) -> Any:
    """Return what a command prints as JSON on the data folder of the server."""
    done = subprocess.run(
        [EXECUTABLE, *words, "--data", str(target.data), "--json"],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=True,
    )
    return json.loads(done.stdout)


def new_key(target: Target, name: str, role: str = "user") -> str:
    """Return a new key, which the server accepts immediately."""
    return str(polyvox(target, "keys", "create", name, "--role", role)["secret"])


def run_of(target: Target, key: str, content: str = "hello") -> str:
    """Return the id of a run that ``key`` started and that has ended."""
    answer = call(
        target,
        "POST",
        "/v1/chat/completions",
        key,
        {"model": "simulator:main", "messages": [{"role": "user", "content": content}]},
    )
    assert answer.status_code == 200, answer.text
    return answer.headers["x-polyvox-run"]
