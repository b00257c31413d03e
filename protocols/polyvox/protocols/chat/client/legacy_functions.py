"""Chat before it had tools: ``functions``, ``function_call`` and messages of the role ``function``.

Such requests are translated to tools, which is what providers accept today, and the answers back to
functions. Function calls have no ids: a result belongs to the oldest call of its name without a
result.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator

from polyvox.workflows.conversation import Json


def is_spoken(body: dict[str, Json]) -> bool:
    """Whether a request offers functions but no tools."""
    return bool(body.get("functions")) and not body.get("tools")


def in_tools(body: dict[str, Json]) -> dict[str, Json]:
    """Return the request with tools in place of functions. Ill-typed members stay unchanged."""
    request = {name: value for name, value in body.items() if name not in _REPLACED}
    functions = body["functions"]
    if isinstance(functions, list):
        functions = [{"type": "function", "function": function} for function in functions]
    request["tools"] = functions
    choice = body.get("function_call")
    if choice is not None:
        named = isinstance(choice, dict)
        request["tool_choice"] = {"type": "function", "function": choice} if named else choice
    # An answer with function calls holds only one.
    request["parallel_tool_calls"] = False
    if isinstance(messages := body.get("messages"), list):
        request["messages"] = list(_messages(messages))
    return request


_REPLACED = ("functions", "function_call")


def _messages(messages: Iterable[Json]) -> Iterator[Json]:
    unanswered: defaultdict[str, deque[str]] = defaultdict(deque)
    for number, message in enumerate(messages):
        call_id = f"call_{number}"
        called = message.get("function_call") if isinstance(message, dict) else None
        if isinstance(called, dict):
            unanswered[str(called.get("name"))].append(call_id)
            call = {"id": call_id, "type": "function", "function": called}
            yield {**_without(message, "function_call"), "tool_calls": [call]}
        elif isinstance(message, dict) and message.get("role") == "function":
            waiting = unanswered[str(message.get("name"))]
            answered = waiting.popleft() if waiting else call_id
            yield {**_without(message, "name"), "role": "tool", "tool_call_id": answered}
        else:
            yield message


def answered(choice: dict[str, Json]) -> dict[str, Json]:
    """Return a whole answer's choice with a function call; further calls stay tool calls."""
    calls = choice["message"].get("tool_calls") or []
    if not calls or "function" not in calls[0]:
        return choice
    message = {**choice["message"], "function_call": calls[0]["function"], "tool_calls": calls[1:]}
    if not message["tool_calls"]:
        del message["tool_calls"]
    return {**choice, "message": message, "finish_reason": finish_reason(choice["finish_reason"])}


def finish_reason(word: str) -> str:
    """Return a finish reason as it is spelled with functions."""
    return "function_call" if word == "tool_calls" else word


def _without(message: dict[str, Json], name: str) -> dict[str, Json]:
    return {key: value for key, value in message.items() if key != name}
