"""Decide which of the offered tools the model calls next.

A turn has stages. The review tool comes first, alone, when the newest message asks for advice.
Then come the tools that the text names (several are called in parallel). If it names none, an
offered tool does what it describes ("run the command", "create the file", "read the file"), after
`ask_expert` if the text asks to consult the expert. A finished stage is not repeated, so after its
results the turn ends in an answer. A forced choice is always obeyed.
"""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from polyvox.gateway.simulator.acting import arguments, schema
from polyvox.gateway.simulator.acting.arguments import Wording
from polyvox.gateway.simulator.acting.mistakes import reports_failure
from polyvox.gateway.simulator.acting.question import (
    LONGEST_GIST,
    Question,
    stable_number,
    working_directory,
)
from polyvox.workflows.conversation import Conversation, Tool, ToolCall

REVIEW = "problem_review"
EXPERT = "ask_expert"

SHELLS = (
    "Bash",
    "exec_command",
    "shell",
    "shell_command",
    "local_shell",
    "container.exec",
    "run_command",
    "run_commands",
    "execute_command",
    "run_terminal_cmd",
    "run_in_terminal",
)
WRITERS = ("Write", "write_file", "create_file", "write_to_file", "fs_write", "apply_patch")
READERS = ("Read", "read_file", "read_files", "view_file", "fs_read")
VIEWERS = ("view_image", *READERS)

_FORBIDS = re.compile(
    r"\b(?:do not|don't|never|without) (?:use|using|call|calling) (?:any |a )?(?:other )?tools?\b",
    re.I,
)
_DENIED = re.compile(r"(?:\bnot|n't|\bnever|\bwithout)(?: \w+){0,2}[ `'\"]*$", re.I)
_ASKS_EXPERT = re.compile(r"\b(?:ask|consult) (?:the|an) expert\b", re.I)
_NOTE = re.compile(
    r"\b(?:write|save|note)(?: down)? what (?:it|you) \w+ (?:in)?to (?P<path>.+)", re.S | re.I
)
_REQUESTS = re.compile(r"\b(?:get|find|look up|check|tell me|give me|show|fetch|search)\b", re.I)
_SHORT_DESCRIPTION = 200
_VERBS_TEXT = """
    call create current data fetch file find get info list look lookup make query read run search
    send show tool update write
"""
_GENERAL_TEXT = f"""
    {_VERBS_TEXT} about achieve action allow also answer argument available base check city code
    command compute country currently date default describe description edit error execute from
    function given have information input into location name number object output parameter place
    please problem process prompt question request result return returned returns some string task
    tell text that their them then this time type user using value what when where which will with
    word work your
"""
_VERBS = frozenset(_VERBS_TEXT.split())
_GENERAL = frozenset(_GENERAL_TEXT.split())
"""Words in names and descriptions of tools that say nothing about their subject."""
_IMAGE_FILE = re.compile(r"\.(?:png|jpe?g|gif|webp|bmp)$", re.I)


@dataclass(frozen=True, slots=True)
class _Planned:
    """A call before it has its id and its arguments, which are read from ``wording``."""

    tool: Tool
    wording: Wording


_Stage = list[_Planned]


def calls(conversation: Conversation, question: Question) -> list[ToolCall]:
    """Return the calls of this answer; it is a text if there are none."""
    tools = {tool.name: tool for tool in conversation.tools if tool.kind != "server"}
    choice = conversation.options.tool_choice
    mode = choice.mode if choice else "auto"
    if not tools or mode == "none":
        return []
    wording = Wording(question.gist, question.text, working_directory(conversation))
    if choice and mode == "tool" and choice.name in tools:
        stage = [_Planned(tools[choice.name], wording)]
    else:
        stages = list(_stages(tools, question, wording))
        done = sum(any(name != REVIEW for name in names) for names in question.rounds)
        # A call that was wrong, and therefore not run, is repeated.
        done = max(done - sum(reports_failure(result.text) for result in question.results), 0)
        if not question.results and _reviews(tools, question):
            stage = [_Planned(tools[REVIEW], wording)]
        elif done < len(stages):
            stage = stages[done]
        elif mode == "required":
            stage = stages[0] if stages else [_Planned(next(iter(tools.values())), wording)]
        else:
            stage = []
    if conversation.options.parallel_tool_calls is False:
        stage = stage[:1]
    return [_call(planned, conversation, at) for at, planned in enumerate(stage)]


def _call(planned: _Planned, conversation: Conversation, at: int) -> ToolCall:
    text = arguments.fill(planned.tool, planned.wording)
    place = f"{len(conversation.messages)}/{at}/{planned.tool.name}/{text}"
    return ToolCall(
        f"call_{stable_number(place):016x}",
        planned.tool.name,
        text,
        "custom" if planned.tool.kind == "custom" else "function",
    )


def _reviews(tools: dict[str, Tool], question: Question) -> bool:
    called = any(REVIEW in names for names in question.rounds)
    return REVIEW in tools and not called and question.wants_advice


def _stages(tools: dict[str, Tool], question: Question, wording: Wording) -> Iterator[_Stage]:
    if _FORBIDS.search(question.gist):
        return
    if named := _named(tools, wording):
        yield named
    else:
        if EXPERT in tools and _ASKS_EXPERT.search(wording.text):
            yield [_Planned(tools[EXPERT], wording)]
        stages = (partial(_notes, question), _write, _run, _read, partial(_described, question))
        for stage in stages:
            if found := list(stage(tools, wording)):
                yield from found
                break


def _named(tools: dict[str, Tool], wording: Wording) -> _Stage:
    """Return the calls of all tools the text names, each filled from the part about it."""
    text = wording.text
    mentions = sorted(
        (match.start(), name)
        for name in tools
        for match in _mention(name).finditer(text)
        if not _DENIED.search(text[: match.start()])
    )
    first: dict[str, int] = {}
    for start, name in mentions:
        first.setdefault(name, start)
    if len(first) == 1:
        return [_Planned(tools[next(iter(first))], wording)]
    ends = [*first.values(), len(text)][1:]
    return [
        _Planned(tools[name], Wording(text[start:end], wording.whole, wording.folder))
        for (name, start), end in zip(first.items(), ends, strict=False)
    ]


def _mention(name: str) -> re.Pattern[str]:
    """Return a pattern for ``name`` in a text; a plain word must be used as a tool."""
    word = rf"(?<![\w/.]){re.escape(name)}(?![\w/])"
    if re.search(r"[\d_.:-]|[a-z][A-Z]", name):
        return re.compile(word, re.I)
    return re.compile(
        rf"(?:\b(?:use|using|call|calling|invoke|via|with)(?: the)?(?: \w+(?:,| and))* [`'\"]?)"
        rf"{word}(?! of\b)|{word}[`'\"]?(?= tools?\b)|{word}(?=\s*[({{])",
        re.I,
    )


def _offered(tools: dict[str, Tool], family: Sequence[str]) -> Tool | None:
    by_name = {name.lower(): tool for name, tool in reversed(tools.items())}
    return next((by_name[name.lower()] for name in family if name.lower() in by_name), None)


def _notes(question: Question, tools: dict[str, Tool], wording: Wording) -> Iterator[_Stage]:
    """Read what the text names first, then write what was read into the file it names last."""
    if match := _NOTE.search(wording.text):
        source = Wording(wording.text[: match.start()], wording.whole, wording.folder)
        yield from _read(tools, source)
        read = "\n".join(result.text for result in question.results)[:LONGEST_GIST]
        note = f"create {match['path']} with the content:\n```\n{read}\n```"
        yield from _write(tools, Wording(note, wording.whole, wording.folder))


def _write(tools: dict[str, Tool], wording: Wording) -> Iterator[_Stage]:
    path, content = wording.path(), wording.content()
    if path and content and re.search(r"\b(?:create|write|save|make|add)\b", wording.text, re.I):
        if writer := _offered(tools, WRITERS):
            yield [_Planned(writer, wording)]
        elif shell := _offered(tools, SHELLS):
            write = f"printf %s {shlex.quote(content)} > {shlex.quote(path)}"
            yield [_by_shell(shell, write, wording)]


def _described(question: Question, tools: dict[str, Tool], wording: Wording) -> Iterator[_Stage]:
    """Call the tool whose name and description fit what the text asks about, once for each place.

    The tools of coding agents have long descriptions with many words, so only short ones are read.
    """
    if not question.wants_advice and not _REQUESTS.search(question.gist):
        return
    asked = {_stem(word) for word in wording.text.lower().split()}
    fitting = [
        (len(shared), -at, tool)
        for at, tool in enumerate(tools.values())
        if _is_plain(tool) and (shared := _subjects(tool) & asked)
    ]
    if not fitting:
        return
    tool = max(fitting, key=lambda one: one[:2])[2]
    places = wording.places() if _takes_place(tool) else []
    if not places:
        yield [_Planned(tool, wording)]
        return
    yield [_Planned(tool, Wording(f"in {place}", wording.whole)) for place in places]


def _is_plain(tool: Tool) -> bool:
    special = {name.lower() for name in (*SHELLS, *WRITERS, *READERS, *VIEWERS, REVIEW, EXPERT)}
    return (
        tool.kind == "function"
        and tool.name.lower() not in special
        and len(tool.description or "") <= _SHORT_DESCRIPTION
    )


def _takes_place(tool: Tool) -> bool:
    properties = schema.checked(tool.parameters).get("properties", {})
    return any(arguments.PLACE.fullmatch(name) for name in properties)


def _subjects(tool: Tool) -> set[str]:
    """Return the words of a tool's name and description that say what it is about."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])|[_.-]+", " ", tool.name).lower().split()
    named = {word for word in name if len(name) > 1 and word not in _VERBS}
    words = re.findall(r"[a-z]{4,}", (tool.description or "").lower())
    return {_stem(word) for word in (*named, *words) if word in named or word not in _GENERAL}


def _stem(word: str) -> str:
    return word.strip(".,;:!?\"'`()").removesuffix("s")


def _by_shell(shell: Tool, command: str, wording: Wording) -> _Planned:
    return _Planned(shell, Wording(f"run ```{command}```", wording.whole))


def _run(tools: dict[str, Tool], wording: Wording) -> Iterator[_Stage]:
    asked = re.search(r"\b(?:run|execute)\b", wording.text, re.I)
    command = wording.quoted or re.search(r"\bcommand\b", wording.text, re.I)
    if asked and command and (shell := _offered(tools, SHELLS)):
        yield [_Planned(shell, wording)]


def _read(tools: dict[str, Tool], wording: Wording) -> Iterator[_Stage]:
    path = wording.path()
    if not path or not re.search(
        r"\b(?:read|open|show|look at|view|describe|see|print|summari[sz]e|what(?:'s| is) in)\b",
        wording.text,
        re.I,
    ):
        return
    picture = _IMAGE_FILE.search(path)
    if reader := _offered(tools, VIEWERS if picture else READERS):
        yield [_Planned(reader, wording)]
    elif not picture and (shell := _offered(tools, SHELLS)):
        yield [_by_shell(shell, f"cat {shlex.quote(path)}", wording)]
