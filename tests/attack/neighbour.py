"""A client that reads one long stream while another client attacks the server.

It runs in a separate interpreter, so that the attacker's work does not delay it. The
simulator sends it a token every 10 ms; the longest gap between two arrivals is how long the server
was unable to serve it. Arrival times are CLOCK_MONOTONIC, which all processes of a machine share.

``python -m tests.attack.neighbour HOST PORT KEY MODEL`` writes ``reading`` once the stream is
steady, and the arrival times as JSON when its standard input ends.
"""

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

STEADY_READS = 50
LONGEST_S = 600


@dataclass(slots=True)
class Neighbour:
    """The arrivals of one stream; complete when the ``neighbour`` context is closed."""

    arrivals: list[float] = field(default_factory=list)
    ended: str = ""

    def longest_gap_s(self, since: float, until: float) -> float:
        """Return the longest time without an arrival between two moments."""
        inside = [at for at in self.arrivals if since <= at <= until]
        marks = [since, *inside, until]
        return max(b - a for a, b in pairwise(marks))


@contextmanager
def neighbour(base_url: str, key: str, model: str) -> Iterator[Neighbour]:
    """Read a stream of ``model`` while the context is open."""
    address = urlsplit(base_url)
    reading = Neighbour()
    child = subprocess.Popen(
        [sys.executable, "-m", __name__, str(address.hostname), str(address.port), key, model],
        cwd=Path(__file__).parent.parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == "reading\n", "the neighbour's stream did not begin"
        yield reading
        child.stdin.close()
        told = json.loads(child.stdout.read())
        reading.arrivals, reading.ended = told["arrivals"], told["ended"]
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def _read(host: str, port: int, key: str, model: str) -> None:
    arrivals: list[float] = []
    stop = threading.Event()

    def wait_for_end() -> None:
        sys.stdin.read()
        stop.set()

    connection = http.client.HTTPConnection(host, port, timeout=LONGEST_S)
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": "Go on."}]}
    connection.request(
        "POST",
        "/v1/chat/completions",
        json.dumps(body),
        {"authorization": f"Bearer {key}", "content-type": "application/json"},
    )
    answer = connection.getresponse()
    ended = "" if answer.status == 200 else f"status {answer.status}: {answer.read(500)!r}"
    threading.Thread(target=wait_for_end, daemon=True).start()
    while not stop.is_set() and not ended:
        try:
            chunk = answer.read1()
        except OSError as broken:
            ended = repr(broken)
            break
        if not chunk:
            ended = "the stream ended"
            break
        arrivals.append(time.monotonic())
        if len(arrivals) == STEADY_READS:
            sys.stdout.write("reading\n")
            sys.stdout.flush()
    json.dump({"arrivals": arrivals, "ended": ended}, sys.stdout)


if __name__ == "__main__":
    _read(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4])
