"""Compare labelled answers, sentence by sentence, and report the findings under five headings.

Two sentences agree if they share most of their significant words and neither contradicts the
other. They conflict if they share words but one denies what the other claims, or if both are
positions and differ. Everything reported is a sentence of an answer or names one.
"""

import re
from dataclasses import dataclass
from itertools import combinations, islice

from polyvox.gateway.simulator.acting.personas import ASPECTS
from polyvox.gateway.simulator.acting.tags import elements

HEADINGS: dict[str, str] = {
    "consensus": "Consensus",
    "contradictions": "Contradictions",
    "partial_coverage": "Partial coverage",
    "unique_insights": "Unique insights",
    "blind_spots": "Blind spots",
}
"""The five headings by the property name a structured report gives them."""

_ATTRIBUTE = re.compile(r"\bid\s*=\s*[\"']([^\"']+)[\"']", re.I)
_LABEL = re.compile(r"\[simulated:[^\[\]]*\]\s*")
_SENTENCE = re.compile(r"[^\n.!?]+(?:[.!?](?!\s|$)[^\n.!?]*)*[.!?]?")
_DENIAL = re.compile(r"\b(?:no|not|never|none|neither|nor|against|avoid|without)\b|n't\b", re.I)
_POSITION = re.compile(r"^\W*(?:position|verdict|recommendation|conclusion)\s*:", re.I)
_FRAME = re.compile(r"^[ \t]*(?:You (?:asked|said): “.*|Key words:.*)$", re.I | re.M)
"""Lines of an answer that repeat its question."""
_HEADING = re.compile(r"^\W*[A-Z][a-z]+: ")
_SMALL_TEXT = """
    a an and are as at be been before but by can for from has have how in into is it its of on or
    so than that the their them there they this those to too was what when which who will with
    would
"""
_SMALL = frozenset(_SMALL_TEXT.split())
_SAME = 0.6
_RELATED = 0.5
_MOST = 4
_MOST_SENTENCES = 60
_MOST_ANSWERS = 26
_LONGEST = 4000
"""The most characters read of the question, and of each sentence on average."""


@dataclass(frozen=True, slots=True)
class Answer:
    label: str
    text: str


@dataclass(frozen=True, slots=True)
class _Sentence:
    label: str
    text: str
    words: frozenset[str]

    @property
    def denies(self) -> bool:
        return bool(_DENIAL.search(self.text))

    @property
    def is_position(self) -> bool:
        return bool(_POSITION.match(self.text))

    @property
    def is_insight(self) -> bool:
        return self.text.startswith("Insight:")

    def same_as(self, other: "_Sentence") -> bool:
        return self.text == other.text or (
            _overlap(self, other) >= _SAME and not self.conflicts_with(other)
        )

    def conflicts_with(self, other: "_Sentence") -> bool:
        if self.is_position and other.is_position:
            return self.words != other.words or self.denies != other.denies
        return _overlap(self, other) >= _RELATED and self.denies != other.denies


def _overlap(one: _Sentence, other: _Sentence) -> float:
    either = len(one.words | other.words)
    return len(one.words & other.words) / either if either else 0.0


def answers(text: str) -> list[Answer]:
    """Return the labelled answers in ``text``: ``<answer id="A">...</answer>``, without an ``id``
    labelled by their place."""
    return [
        Answer(_label(element.attributes, at), element.text)
        for at, element in enumerate(islice(elements(text, "answer"), _MOST_ANSWERS))
    ]


def _label(attributes: str, at: int) -> str:
    match = _ATTRIBUTE.search(attributes)
    return match[1] if match else chr(ord("A") + at % 26)


def findings(text: str) -> dict[str, list[str]]:
    """Return what comparing the labelled answers in ``text`` shows, keyed as ``HEADINGS``."""
    given = answers(text)
    groups = _groups([s for answer in given for s in _sentences(answer)])
    labels = [answer.label for answer in given]
    found: dict[str, list[str]] = {key: [] for key in HEADINGS}
    unique: list[tuple[bool, str]] = []
    leaders = [group[0] for group in groups]
    disputed = [pair for pair in combinations(leaders, 2) if pair[0].conflicts_with(pair[1])]
    in_dispute = {id(sentence) for pair in disputed for sentence in pair}
    for group in groups:
        holders = [label for label in labels if any(s.label == label for s in group)]
        sentence = group[0].text.rstrip(".")
        if len(labels) > 1 and len(holders) == len(labels):
            found["consensus"].append(f"All say: {sentence}.")
        elif len(holders) > 1:
            missing = [label for label in labels if label not in holders]
            found["partial_coverage"].append(
                f"{_listed(holders)}, not {_listed(missing)}: {sentence}."
            )
        elif id(group[0]) not in in_dispute and len(labels) > 1:
            unique.append((not group[0].is_insight, f"Only {holders[0]} says: {_bare(sentence)}."))
    found["contradictions"] = [
        f"{a.label} says “{_bare(a.text)}”, {b.label} says “{_bare(b.text)}”."
        for a, b in disputed
        if a.label != b.label
    ]
    found["unique_insights"] = [line for _, line in sorted(unique, key=lambda one: one[0])]
    found["blind_spots"] = _blind_spots(text, given)
    return {key: lines[:_MOST] for key, lines in found.items()}


def report(text: str) -> str:
    """Return the report on the labelled answers in ``text``: five headings with lists."""
    given = answers(text)
    lines = [f"Answers compared: {', '.join(a.label for a in given) or 'none were given'}."]
    for key, found in findings(text).items():
        lines += ["", f"## {HEADINGS[key]}", *(f"- {line}" for line in found or ["None found."])]
    return "\n".join(lines)


def unlabelled(text: str) -> str:
    """Return ``text`` without the labels of simulated answers."""
    return _LABEL.sub("", text)


def _listed(labels: list[str]) -> str:
    *others, last = labels
    return f"{', '.join(others)} and {last}" if others else last


def _bare(sentence: str) -> str:
    """Return a sentence without its full stop and a heading such as ``Position:``."""
    return _HEADING.sub("", sentence).rstrip(".")


def _sentences(answer: Answer) -> list[_Sentence]:
    text = _FRAME.sub("", unlabelled(answer.text[: _MOST_SENTENCES * _LONGEST]))
    found: list[_Sentence] = []
    for match in _SENTENCE.finditer(text):
        sentence = match[0].strip(" \t*-#>")
        words = frozenset(w for w in re.findall(r"\w+", sentence.lower()) if w not in _SMALL)
        if len(words) > 1:
            found.append(_Sentence(answer.label, sentence, words))
    return found[:_MOST_SENTENCES]


def _groups(sentences: list[_Sentence]) -> list[list[_Sentence]]:
    groups: list[list[_Sentence]] = []
    for sentence in sentences:
        for group in groups:
            if sentence.same_as(group[0]):
                group.append(sentence)
                break
        else:
            groups.append([sentence])
    return groups


def _blind_spots(text: str, given: list[Answer]) -> list[str]:
    text_of_all = " ".join(answer.text.lower() for answer in given)
    spots = [f"No answer looks at {aspect}." for aspect in ASPECTS if aspect not in text_of_all]
    if question := next(elements(text, "question", "problem"), None):
        words = dict.fromkeys(re.findall(r"\w{4,}", question.text[:_LONGEST].lower()))
        missed = [word for word in words if word not in text_of_all and word not in _SMALL]
        if missed:
            spots.insert(0, f"No answer mentions: {', '.join(missed[:5])}.")
    return spots
