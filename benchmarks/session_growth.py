"""How much the stores grow in a long agent session, compared with its unique bytes.

Run: ``python -m benchmarks.session_growth [TURNS] [BYTES]``. It starts the program with its
simulator, sends a session of Chat requests, each with everything before it, and prints for the blob
store and for the engine's database: the bytes of the file, and their ratio to the unique bytes
(tools, each message once, each answer once).
"""

import base64
import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from tests.programs.processes import running
from tests.programs.running import KEY


def session(base_url: str, turns: int, size: int) -> int:
    """Send the session; return its unique bytes."""
    tools = [
        {
            "type": "function",
            "function": {
                "name": f"tool_{number}",
                "description": text(700),
                "parameters": {"type": "object", "properties": {"path": {"type": "string"}}},
            },
        }
        for number in range(20)
    ]
    messages: list[dict[str, Any]] = [{"role": "system", "content": text(12_000)}]
    unique = len(json.dumps(tools)) + len(json.dumps(messages[0]))
    with httpx.Client(trust_env=False, timeout=120) as client:
        for _ in range(turns):
            messages.append({"role": "user", "content": text(size)})
            unique += len(json.dumps(messages[-1]))
            answer = client.post(
                f"{base_url}/v1/chat/completions",
                json={"model": "simulator:main-n60", "messages": messages, "tools": tools},
                headers={"authorization": f"Bearer {KEY}"},
            )
            answer.raise_for_status()
            message = answer.json()["choices"][0]["message"]
            messages.append({"role": "assistant", "content": message["content"] or ""})
            unique += len(json.dumps(messages[-1]))
    return unique


def text(size: int) -> str:
    """Return text that compresses like source code does: to about a third."""
    words = base64.b64encode(os.urandom(size // 4)).decode()
    spread = re.sub(r"(.{8})", r"\1    self.value = ", words)
    return spread[:size]


def main() -> None:
    turns, size = (int(given) for given in (*sys.argv[1:], "200", "4000")[:2])
    with tempfile.TemporaryDirectory(prefix="polyvox-growth-") as folder:
        arguments = ("up", "--port", "0", "--data", f"{folder}/data")
        with running(*arguments, folder=Path(folder), environ={"POLYVOX_KEY": KEY}) as server:
            server.ready()
            files = {
                "blob store": [*Path(folder, "data").glob("blobs.db*")],
                "engine": [*Path(folder, "data/engine").glob("temporal-*.db*")],
            }
            before = {name: total(found) for name, found in files.items()}
            began = time.monotonic()
            unique = session(server.base_url, turns, size)
            took = time.monotonic() - began
            server.stop()
        print(f"{turns} turns in {took:.0f} s, {unique:,} unique bytes")
        for name, found in files.items():
            grown = total([file for file in found if file.exists()]) - before[name]
            print(f"{name}: {grown:,} bytes, {grown / unique:.2f} x, {grown / turns:,.0f} per turn")


def total(files: list[Path]) -> int:
    return sum(file.stat().st_size for file in files)


if __name__ == "__main__":
    main()
