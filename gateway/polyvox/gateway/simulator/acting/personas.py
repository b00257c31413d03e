"""Personas that disagree: each looks at a question from one side and takes a position.

Positions of different personas often conflict. All personas make some points, a few make others,
and each makes one alone, so that a judge finds something of each kind. A position depends only on
the question and the persona.
"""

from dataclasses import dataclass

from polyvox.gateway.simulator.acting.question import Question, stable_number

STANCES: tuple[tuple[str, str], ...] = (
    ("go ahead with {topic}", "speaks for it"),
    ("do not go ahead with {topic}", "speaks against it"),
    ("try {topic} in one small part first", "speaks for a trial"),
)

ASPECTS: dict[str, str] = {
    "cost": "On cost, count the months after the first one too.",
    "risk": "On risk, name the worst case and who would carry it.",
    "time": "On time, the first estimate is too short.",
    "people": "On people, ask those who will live with the result.",
    "evidence": "On evidence, measure before and after.",
    "maintenance": "On maintenance, someone must own it in a year.",
    "security": "On security, look at what becomes reachable.",
    "reversibility": "On reversibility, prefer the step that can be taken back.",
}


@dataclass(frozen=True, slots=True)
class Persona:
    """``seat`` is added to the question's number: neighbours never take the same position."""

    name: str
    seat: int
    lens: str
    aspects: tuple[str, ...]
    caveat: str
    insight: str


_PERSONAS = (
    Persona(
        "optimist",
        0,
        "what can be won",
        ("people", "evidence", "time"),
        "this holds only while somebody wants {topic} enough to finish it",
        "the people who asked about {topic} have already begun to change how they work",
    ),
    Persona(
        "skeptic",
        1,
        "what can be lost",
        ("risk", "cost", "evidence"),
        "the cost of doing nothing about {topic} is hard to see and may be the larger one",
        "nobody has said which problem {topic} would solve that has no cheaper answer",
    ),
    Persona(
        "engineer",
        2,
        "what must be built and kept running",
        ("maintenance", "time", "risk"),
        "this assumes that the interfaces around {topic} stay as they are",
        "the hard part of {topic} is the day it is half done and both ways must work",
    ),
    Persona(
        "main",
        2,
        "what was asked and what is known",
        ("evidence", "reversibility"),
        "nothing beyond the request itself was looked at",
        "{topic} can be decided in parts",
    ),
)
NAMES: tuple[str, ...] = (*(persona.name for persona in _PERSONAS), "judge")


def persona(name: str) -> Persona:
    """Return the persona called ``name``; any unknown name is a persona made from its letters."""
    for known in _PERSONAS:
        if known.name == name:
            return known
    number = stable_number(name)
    aspects = [*ASPECTS]
    return Persona(
        name,
        number % len(STANCES),
        f"the {name}'s desk",
        tuple(aspects[(number + step) % len(aspects)] for step in (0, 3, 5)),
        f"{name} knows {{topic}} from one side only",
        f"to {name}, {{topic}} is a question of habit",
    )


def position(speaker: Persona, question: Question) -> str:
    """Return what ``speaker`` would do, as a clause."""
    stance, _ = STANCES[(question.number + speaker.seat) % len(STANCES)]
    return stance.format(topic=question.topic)


def opinion(speaker: Persona, question: Question) -> str:
    """Return the whole opinion of ``speaker``, one sentence a line."""
    topic = question.topic
    _, verdict = STANCES[(question.number + speaker.seat) % len(STANCES)]
    lines = [
        f"Position: {position(speaker, question)}.",
        f"Reason: {speaker.lens} {verdict}.",
        f"Before {topic} starts, agree on how success is measured.",
        *(ASPECTS[aspect] for aspect in speaker.aspects),
        f"Caveat: {speaker.caveat.format(topic=topic)}.",
        f"Insight: {speaker.insight.format(topic=topic)}.",
    ]
    return "\n".join(lines)
