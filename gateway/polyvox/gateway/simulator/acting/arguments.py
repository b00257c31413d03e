"""Fill a tool's arguments from the text that asks for it.

In this order: a JSON object written after the tool's name; what the text says for a property of a
known meaning (command, path, content, place ...); quoted strings in turn; and for what is then
still required, the smallest value the tool's schema allows.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import orjson

from polyvox.gateway.simulator.acting import schema
from polyvox.workflows.conversation import Json, Tool

_QUOTED = re.compile(
    r"```(?:\w*\n)?(.+?)\n?```|`([^`]+)`|\"([^\"]+)\"|“([^”]+)”|(?<!\w)'([^']+)'", re.S
)
_URL = re.compile(r"https?://[^\s`'\"<>]+")
_PATH = re.compile(
    r"(?<![\w/.~-])(?:~|\.{1,2})?/?[\w@+-][\w.@+-]*(?:/[\w.@+-]+)*\.[A-Za-z]\w{0,7}\b"
)
_ROOTED = re.compile(r"(?<![\w/.~:])~?/[\w.@+-]+(?:/[\w.@+-]+)*")
_PLACE = re.compile(
    r"\b(?:for|in|of|at|to|from|near)\s+"
    r"([A-Z][\w'\u2019-]*(?: [A-Z][\w'\u2019-]*)*)"
)
_NEXT_PLACE = re.compile(
    r"(?:,| and|, and)\s+(?:in\s+)?([A-Z][\w'\u2019-]*(?: [A-Z][\w'\u2019-]*)*)"
)
PLACE = re.compile(r"(?:\w*_)?(?:city|location|place|town|country)", re.I)
"""Names of properties that hold a place."""
_RUN = re.compile(r"\b(?:run|execute)\b(?: the)?(?: shell)?(?: command)?:?\s+(.+)", re.S | re.I)
_CONTENT = re.compile(
    r"\b(?:containing|contains?|(?:and |that )?(?:says|saying)|reading"
    r"|with (?:the |its )?(?:exact |following )*(?:contents?|text|line))\b"
    r"(?P<exact> exactly| only| just)?(?: (?:the|this))?(?: following)?(?: (?:text|content|line))?"
    r"\s*:?\s*(?P<content>.+)",
    re.S | re.I,
)
_NEXT_SENTENCE = re.compile(
    r"[.;]?\s*(?:\n\n|[.;]\s+(?:(?:and )?then|after|afterwards|reply|answer|do not|use|finally"
    r"|when|tell)\b).*",
    re.S | re.I,
)


@dataclass(slots=True)
class Wording:
    """A text that asks for a tool, and the values it contains. ``folder`` is absolute."""

    text: str
    whole: str = ""
    folder: str | None = None
    quoted: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.quoted = _quoted(self.text)

    def command(self) -> str | None:
        if self.quoted:
            return self.quoted[0]
        match = _RUN.search(self.text)
        return _NEXT_SENTENCE.sub("", match[1]).strip().rstrip(".") if match else None

    def path(self) -> str | None:
        """Return the first file named, absolute where the folder is known."""
        text = _CONTENT.sub("", _URL.sub("", self.text))
        match = _PATH.search(text) or _ROOTED.search(text)
        named = match[0] if match else next((q for q in _quoted(text) if " " not in q), None)
        if named is None or named.startswith(("/", "~")) or self.folder is None:
            return named
        return f"{self.folder.rstrip('/')}/{named.removeprefix('./')}"

    def content(self) -> str | None:
        match = _CONTENT.search(self.text)
        if match is None:
            return None
        if quoted := _QUOTED.match(match["content"]):
            return str(next(filter(None, quoted.groups())))
        bare = _NEXT_SENTENCE.sub("", match["content"]).strip()
        return bare if match["exact"] else bare.rstrip(".")

    def place(self) -> str | None:
        match = _PLACE.search(self.text)
        return match[1] if match else None

    def places(self) -> list[str]:
        """Return all places of the first list of them: "in Paris, Rome and Oslo"."""
        match = _PLACE.search(self.text)
        if match is None:
            return []
        found, at = [match[1]], match.end()
        while another := _NEXT_PLACE.match(self.text, at):
            found.append(another[1])
            at = another.end()
        return found

    def number(self) -> str | None:
        match = re.search(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w])", self.text)
        return match[0] if match else None

    def json_after(self, name: str) -> str | None:
        """Return the unchanged text of a JSON object right after ``name``."""
        for match in re.finditer(
            rf"{re.escape(name)}[`'\"]?\s*(?:with\s*)?\(?\s*(?=\{{)", self.text
        ):
            try:
                value, end = json.JSONDecoder().raw_decode(self.text, match.end())
            except json.JSONDecodeError:
                continue
            if isinstance(value, dict):
                return self.text[match.end() : end]
        return None


def _quoted(text: str) -> list[str]:
    return [next(filter(None, match.groups())) for match in _QUOTED.finditer(text)]


def _summary(wording: Wording) -> str:
    return " ".join(wording.whole[:1000].split()[:8])


def _first_quoted(wording: Wording) -> str | None:
    return next(iter(wording.quoted), None)


_MEANINGS: tuple[tuple[re.Pattern[str], Callable[[Wording], str | None]], ...] = (
    (re.compile(r"cmd|command|commands|script|shell_command|command_?line", re.I), Wording.command),
    (re.compile(r"(?:\w*_)?(?:file_?)?path|file_?name|file|target_file", re.I), Wording.path),
    (re.compile(r"contents?|file_text|new_content|file_content|body", re.I), Wording.content),
    (PLACE, Wording.place),
    (re.compile(r"description|summary|title|explanation", re.I), _summary),
    (re.compile(r"pattern|regex|glob", re.I), _first_quoted),
    (re.compile(r"problem|question|prompt|task|request|instructions?", re.I), lambda w: w.whole),
)
_OPTIONAL = frozenset({"description"})


def fill(tool: Tool, wording: Wording) -> str:
    """Return the arguments of a call to ``tool``: JSON, or free text for a custom tool."""
    if tool.kind == "custom":
        return patch(wording) or _first_quoted(wording) or wording.whole
    if (written := wording.json_after(tool.name)) is not None:
        return written
    parameters = schema.checked(tool.parameters)
    properties: dict[str, Json] = parameters.get("properties", {})
    required = parameters.get("required", [])
    named: dict[str, object] = {}
    for name, shape in properties.items():
        wanted = name in required or name in _OPTIONAL or not required
        if wanted and (value := _value_of(name, shape, wording)) is not None:
            named[name] = value
    spare = (quoted for quoted in wording.quoted if quoted not in named.values())
    for name in required:
        if name not in named and _is(properties.get(name), "string"):
            value = next(spare, None) or wording.place()
            if value is not None:
                named[name] = value
    if not required:
        # Optional properties that the text does not mention are left out.
        parameters = {**parameters, "required": [*named]} if named else {"type": "object"}
    words = [word for word in wording.whole[:1000].split() if word.isalnum()]
    return orjson.dumps(schema.instance(parameters, words, named)).decode()


def _value_of(name: str, shape: Json, wording: Wording) -> object | None:
    if _is(shape, "integer", "number"):
        return wording.number()
    if isinstance(shape, dict) and shape.get("enum"):
        text = wording.text.lower()
        return next((v for v in shape["enum"] if isinstance(v, str) and v.lower() in text), None)
    for pattern, meaning in _MEANINGS:
        if pattern.fullmatch(name):
            value = meaning(wording)
            if value is not None and _is(shape, "array") and meaning is Wording.command:
                # One command's words, or several commands.
                return [value] if name.endswith("s") else ["bash", "-lc", value]
            return value
    return None


def _is(shape: Json, *kinds: str) -> bool:
    kind = shape.get("type") if isinstance(shape, dict) else None
    return any(k in kind for k in kinds) if isinstance(kind, list) else kind in kinds


def patch(wording: Wording) -> str | None:
    """Return the patch that creates the file ``wording`` asks for; None if it asks for no file.

    The language is that of the published grammar of ``apply_patch``.
    """
    path, content = wording.path(), wording.content()
    if path is None or content is None:
        return None
    added = [f"+{line}\n" for line in content.splitlines()]
    return "".join(["*** Begin Patch\n", f"*** Add File: {path}\n", *added, "*** End Patch\n"])
