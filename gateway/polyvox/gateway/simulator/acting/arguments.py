"""Fills a tool's arguments from the text that asks for it.

In this order: a JSON object written after the tool's name; ``key=value`` pairs; what the text says
for a property of a known meaning (command, path, content, place ...); quoted strings in turn; and
for what is then still required, the smallest value the tool's schema allows.
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
_PAIR = re.compile(r"\b([A-Za-z_]\w*)\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|`([^`]*)`|([^\s,;]+))")
_URL = re.compile(r"https?://[^\s`'\"<>]+")
_PATH = re.compile(
    r"(?<![\w/.~-])(?:~|\.{1,2})?/?[\w@+-][\w.@+-]*(?:/[\w.@+-]+)*\.[A-Za-z]\w{0,7}\b"
)
_ROOTED = re.compile(r"(?<![\w/.~:])~?/[\w.@+-]+(?:/[\w.@+-]+)*")
_PLACES = re.compile(
    r"\b(?:for|in|of|at|to|from|near)\s+"
    r"((?:[A-Z][\w'\u2019-]*)(?: [A-Z][\w'\u2019-]*)*"
    r"(?:(?:,| and|, and) [A-Z][\w'\u2019-]*(?: [A-Z][\w'\u2019-]*)*)*)"
)
_RUN = re.compile(r"\b(?:run|execute)\b(?: the)?(?: shell)?(?: command)?:?\s+(.+)", re.S | re.I)
_CONTENT = re.compile(
    r"\b(?:containing|contains?|(?:and |that )?(?:says|saying)|reading"
    r"|with (?:the |its )?(?:exact |following )*(?:contents?|text|line))\b"
    r"(?P<exact> exactly| only| just)?(?: (?:the|this))?(?: following)?(?: (?:text|content|line))?"
    r"\s*:?\s*(?P<content>.+)",
    re.S | re.I,
)
_INTO = re.compile(r"\bwrite (?:the (?:text|line) )?(.+?) (?:in)?to\b", re.I)
_NEXT_SENTENCE = re.compile(
    r"[.;]?\s*(?:\n\n|[.;]\s+(?:(?:and )?then|after|afterwards|reply|answer|do not|use|finally"
    r"|when|tell)\b).*",
    re.S | re.I,
)
_SWAP = re.compile(
    r"\b(?:replace|change|substitute|turn)\s+(?:the (?:text|word|line|string)\s+)?"
    r"(?:`([^`]+)`|\"([^\"]+)\"|'([^']+)'|(\S+))\s+(?:with|by|to|into)\s+"
    r"(?:`([^`]+)`|\"([^\"]+)\"|'([^']+)'|(\S+))",
    re.I,
)


@dataclass(slots=True)
class Wording:
    """A text that asks for a tool, and what can be read from it. ``folder`` is absolute."""

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
        text = _SWAP.sub("", _CONTENT.sub("", _URL.sub("", self.text)))
        match = _PATH.search(text) or _ROOTED.search(text)
        named = match[0] if match else next((q for q in _quoted(text) if " " not in q), None)
        if named is None or named.startswith(("/", "~")) or self.folder is None:
            return named
        return f"{self.folder.rstrip('/')}/{named.removeprefix('./')}"

    def content(self) -> str | None:
        match = _CONTENT.search(self.text)
        said = match["content"] if match else None
        if said is None and (into := _INTO.search(self.text)):
            said = into[1]
        if said is None:
            return None
        quoted = _QUOTED.match(said)
        if quoted:
            return str(next(filter(None, quoted.groups())))
        bare = _NEXT_SENTENCE.sub("", said).strip()
        return bare if match and match["exact"] else bare.rstrip(".")

    def swap(self) -> tuple[str, str] | None:
        """Return what is to be replaced, and by what."""
        match = _SWAP.search(self.text)
        if match is None:
            return None
        old, new = (next(filter(None, match.groups()[at : at + 4]), "") for at in (0, 4))
        return old.rstrip(".,"), new.rstrip(".,")

    def places(self) -> list[str]:
        match = _PLACES.search(self.text)
        return re.split(r", and | and |, ", match[1]) if match else []

    def url(self) -> str | None:
        match = _URL.search(self.text)
        return match[0].rstrip(".,)") if match else None

    def number(self) -> str | None:
        match = re.search(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w])", self.text)
        return match[0] if match else None

    def json_after(self, name: str) -> str | None:
        """Return the text of a JSON object written right after ``name``, as it is written."""
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


def _old(wording: Wording) -> str | None:
    swap = wording.swap()
    return swap[0] if swap else None


def _new(wording: Wording) -> str | None:
    swap = wording.swap()
    return swap[1] if swap else None


def _place(wording: Wording) -> str | None:
    return next(iter(wording.places()), None)


def _summary(wording: Wording) -> str:
    return " ".join(wording.whole[:1000].split()[:8])


def _first_quoted(wording: Wording) -> str | None:
    return next(iter(wording.quoted), None)


def _question(wording: Wording) -> str:
    return wording.whole


_MEANINGS: tuple[tuple[re.Pattern[str], Callable[[Wording], str | None]], ...] = (
    (re.compile(r"cmd|command|commands|script|shell_command|command_?line", re.I), Wording.command),
    (re.compile(r"(?:\w*_)?(?:file_?)?path|file_?name|file|target_file", re.I), Wording.path),
    (re.compile(r"contents?|file_text|new_content|file_content|body", re.I), Wording.content),
    (re.compile(r"old_?(?:string|str|text)", re.I), _old),
    (re.compile(r"new_?(?:string|str|text)", re.I), _new),
    (re.compile(r"(?:\w*_)?(?:city|location|place|town|country)", re.I), _place),
    (re.compile(r"(?:\w*_)?(?:url|uri|link)", re.I), Wording.url),
    (re.compile(r"description|summary|title|explanation", re.I), _summary),
    (re.compile(r"pattern|regex|glob", re.I), _first_quoted),
    (re.compile(r"problem|question|prompt|task|request|instructions?", re.I), _question),
)
_OPTIONAL = frozenset({"description"})


def fill(tool: Tool, wording: Wording) -> str:
    """Return the arguments of a call to ``tool``: JSON, or free text for a custom tool."""
    if tool.kind == "custom":
        return patch(wording) or _first_quoted(wording) or wording.whole
    if (written := wording.json_after(tool.name)) is not None:
        return written
    parameters = schema.checked(tool.parameters)
    properties: dict[str, Json] = parameters.get("properties") or {}
    required = parameters.get("required") or []
    named: dict[str, object] = {
        match[1]: next((group for group in match.groups()[1:] if group is not None), "")
        for match in _PAIR.finditer(wording.text)
        if match[1] in properties
    }
    for name, shape in properties.items():
        wanted = name in required or name in _OPTIONAL or not required
        if wanted and name not in named and (value := _meant(name, shape, wording)) is not None:
            named[name] = value
    spare = (quoted for quoted in wording.quoted if quoted not in named.values())
    for name in required:
        if name not in named and _is(properties.get(name), "string"):
            value = next(spare, None) or _place(wording)
            if value is not None:
                named[name] = value
    if not required:
        # Nothing is asked for: what the text does not give is better left out.
        parameters = {**parameters, "required": [*named]} if named else {"type": "object"}
    words = [word for word in wording.whole[:1000].split() if word.isalnum()]
    return orjson.dumps(schema.instance(parameters, words, named)).decode()


def _meant(name: str, shape: Json, wording: Wording) -> object | None:
    if _is(shape, "integer", "number"):
        return wording.number()
    if isinstance(shape, dict) and shape.get("enum"):
        said = wording.text.lower()
        return next((v for v in shape["enum"] if isinstance(v, str) and v.lower() in said), None)
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
    """Return the file edit ``wording`` asks for in the patch language of ``apply_patch``.

    The language is that of the tool's published grammar: ``*** Begin Patch``, one file operation
    with added (+) and removed (-) lines, ``*** End Patch``. None if no edit is asked for.
    """
    path, content, swap = wording.path(), wording.content(), wording.swap()
    if path is None or (content is None and swap is None):
        return None
    if swap is not None:
        body = [f"*** Update File: {path}", "@@", f"-{swap[0]}", f"+{swap[1]}"]
    else:
        added = [f"+{line}" for line in (content or "").splitlines()]
        body = [f"*** Add File: {path}", *added]
    return "\n".join(["*** Begin Patch", *body, "*** End Patch"]) + "\n"
