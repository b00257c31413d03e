"""Attacks on flows, fetches and listings that keep a server busy."""

import json
from concurrent.futures import ThreadPoolExecutor

from tests.attack.flooded import Flooded
from tests.attack.floods import Told, posted, sent

WRITES = "Write the function add in solution.py."


def unclosed_fences(server: Flooded, size: int = 256 * 1024) -> Told:
    """Code blocks that are opened and never closed, for a flow that searches for code."""
    fences = "```python a.py\n" * (size // 15)
    return posted(server, json.dumps(_asked("patched", fences)).encode())


def a_command_that_prints(server: Flooded) -> Told:
    """A sandboxed program that prints until its time limit."""
    return posted(server, json.dumps(_asked("printing", WRITES)).encode())


def many_urls(server: Flooded, count: int = 2000) -> Told:
    """Images that the server must fetch, each from another address."""
    images = [
        {"type": "image_url", "image_url": {"url": f"http://127.0.0.1:{server.endless_port}/{at}"}}
        for at in range(count)
    ]
    return posted(server, json.dumps(_asked("inlining:main", images)).encode())


def listings_at_once(server: Flooded, count: int = 40, each: int = 20) -> set[int]:
    """Clients that list runs repeatedly."""

    def one(_number: int) -> set[int]:
        request = (
            f"GET /api/runs?limit=1000 HTTP/1.1\r\nhost: polyvox\r\n"
            f"authorization: Bearer {server.key}\r\n\r\n"
        ).encode()
        return {sent(server, [request]).status for _ in range(each)}

    with ThreadPoolExecutor(count) as clients:
        return set().union(*clients.map(one, range(count)))


def _asked(model: str, content: object) -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": content}]}
