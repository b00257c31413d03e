"""Mistakes that a simulated model makes on purpose, and the check that finds them.

A model with ``slipN`` in its name makes mistakes until the conversation reports N times that its
answer did not pass: JSON lacks a property, a call its arguments, code is wrong, a text ends with a
wrong sum. A model with ``bugN`` makes mistakes only in code. A model that is asked for a verdict
finds wrong sums and unfinished parts in the answer.
"""

import re
from dataclasses import replace
from operator import add, mul, sub

import orjson

from polyvox.gateway.simulator.acting.question import Question
from polyvox.gateway.simulator.acting.tags import elements
from polyvox.workflows.conversation import Conversation, Part, Text, ToolCall

_MOST_LABELS = 100

WRONG_SUM = "By the way, 2 + 2 = 5."

_FAILURE = re.compile(r"\b(?:did|does) not pass\b", re.I)
_SUM = re.compile(r"(?<![\d.])(\d{1,9}) ([+*-]) (\d{1,9}) = (\d{1,12})(?![\d.]*\d)")
_OPERATORS = {"+": add, "-": sub, "*": mul}
_UNFINISHED = re.compile(r"\bTODO\b|\bNotImplemented\w*")

_CODE_WANTED = re.compile(
    r"\bfunction `?(?P<name>[a-z_]\w*)`?.{0,80}?\bin `?(?P<path>[\w./-]+\.py)`?", re.I | re.S
)
_BODIES = {
    "add": ("a, b", "a + b", "a - b"),
    "subtract": ("a, b", "a - b", "a + b"),
    "largest": ("values", "max(values)", "values[0]"),
    "is_even": ("number", "number % 2 == 0", "number % 2 == 1"),
}
"""The functions that the simulator can write: arguments, right result, wrong result."""


def is_due(conversation: Conversation, slips: int) -> bool:
    """Return whether the model still makes its mistake."""
    complaints = (m for m in conversation.messages if m.role == "user" and reports_failure(m.text))
    return sum(1 for _ in complaints) < slips


def reports_failure(text: str) -> bool:
    """Return whether ``text`` reports that an answer or a call did not pass a check."""
    return bool(_FAILURE.search(text))


def with_mistakes(parts: list[Part]) -> list[Part]:
    """Return ``parts`` with a mistake in each that can have one."""
    return [_with_mistake(part) for part in parts]


def program(question: Question, *, wrong: bool) -> str | None:
    """Return the file a text asks for ("write the function add in solution.py"), fenced."""
    wanted = _CODE_WANTED.search(question.gist)
    if wanted is None:
        return None
    name, path = wanted["name"], wanted["path"]
    arguments, right, mistaken = _BODIES.get(name, ("*values", "NotImplemented", "None"))
    body = mistaken if wrong else right
    return f"```python {path}\ndef {name}({arguments}):\n    return {body}\n```"


def verdict(text: str) -> dict[str, object]:
    """Return the verdict on the answer in ``text``: ``passed`` and ``complaints``."""
    begin, end = text.find("<answer>"), text.rfind("</answer>")
    answer = text[begin + len("<answer>") : end] if 0 <= begin < end else ""
    complaints: list[str] = []
    for match in _SUM.finditer(answer):
        value = _OPERATORS[match[2]](int(match[1]), int(match[3]))
        if value != int(match[4]):
            complaints.append(f"{match[0]} is wrong: it is {value}.")
    if left := _UNFINISHED.search(answer):
        complaints.append(f"It is not finished: {left[0]}.")
    return {"passed": not complaints, "complaints": complaints}


def label(text: str) -> dict[str, object]:
    """Return the ``label`` of a request: the first one of the list that it mentions."""
    listed = next(elements(text, "labels"), None)
    if listed is None:
        return {}
    rest = text[listed.end :].lower()
    labels = [word.strip() for word in listed.text.split(",", _MOST_LABELS)[:_MOST_LABELS]]
    return {"label": next((word for word in labels if word.lower() in rest), labels[0])}


def _with_mistake(part: Part) -> Part:
    match part:
        case ToolCall():
            return replace(part, arguments="{}")
        case Text(text) if text.startswith("{"):
            document = orjson.loads(text)
            return Text(orjson.dumps(dict(list(document.items())[1:])).decode())
        case Text(text) if "```" not in text:
            return Text(f"{text}\n{WRONG_SUM}")
        case _:
            return part
