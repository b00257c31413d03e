"""The tasks for a library, and how a process that runs one receives them.

Libraries run in separate environments, because they need conflicting versions. Such a process
gets ``BASE_URL KEY`` as arguments and a JSON list of tasks on stdin, runs them at the same
time, and prints for each a line ``{"id", "text", "error"}``: the last answer, or the error.
"""

import faulthandler
import json
import signal
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

CITY: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOL_NAME = "get_weather"
TOOL_USE = "The weather in a city, now"


@dataclass(frozen=True, slots=True)
class Task:
    """One question: ``image`` is a PNG in base64, ``tool`` whether the weather tool is offered.

    ``idle_limit_s`` is how long the library may wait for the next bytes.
    """

    id: str
    protocol: str
    model: str
    prompt: str
    image: str | None
    tool: bool
    stream: bool
    idle_limit_s: float | None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the server is; ``root`` has no ``/v1``."""

    root: str
    key: str

    @property
    def v1(self) -> str:
        return f"{self.root}/v1"


def weather(city: str) -> str:
    """The weather in a city, now."""
    return f"It is 21 degrees in {city}."


def weather_for(arguments: str) -> str:
    """Return the weather for a call's ``arguments``, as JSON text."""
    return weather(json.loads(arguments)["city"])


def data_url(image: str) -> str:
    return f"data:image/png;base64,{image}"


def answer_all(answer: Callable[[Endpoint, Task], str], *, at_once: int = 6) -> None:
    """Run all tasks of this process; ``answer`` returns the last answer or raises."""
    faulthandler.register(signal.SIGUSR2)  # where all threads stand, should this process hang
    endpoint = Endpoint(sys.argv[1], sys.argv[2])
    tasks = [Task(**task) for task in json.load(sys.stdin)]

    stdout = sys.stdout

    def attempt(task: Task) -> None:
        text, failure = "", None
        try:
            text = answer(endpoint, task)
        except Exception as error:  # noqa: BLE001  # whatever a library raises is its answer
            traceback.print_exc()
            failure = f"{type(error).__name__}: {error}"
        line = json.dumps({"id": task.id, "text": text, "error": failure})
        stdout.write(f"{line}\n")
        stdout.flush()

    # Some libraries print; stdout must contain only the answers.
    with redirect_stdout(sys.stderr), ThreadPoolExecutor(at_once) as pool:
        for _ in pool.map(attempt, tasks):
            pass
