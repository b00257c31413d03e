"""Personas that disagree: each looks at a question from one side and takes a position.

Positions of different personas often conflict. All personas make some points, a few make others,
and each makes one alone, so that a judge finds something of each kind. A position depends only on
the question and the persona.
"""

from dataclasses import dataclass

from polyvox.gateway.simulator.acting.question import Question, stable_number

STANCES: tuple[tuple[str, str], ...] = (
    ("go ahead", "it is worth it"),
    ("do not do it yet", "it is not worth it yet"),
    ("try it on a small scale first", "it is too early to be sure"),
)
"""Positions on a proposal, and how a persona's view justifies each."""

CHOICES: tuple[tuple[str, str], ...] = (
    ("choose the first option", "it is the better one"),
    ("choose the second option", "it is the better one"),
    ("try both on a small scale first", "it is too early to be sure"),
)
"""The same for a question with two options."""

ASPECTS: dict[str, str] = {
    "cost": "The cost goes on after the first month.",
    "risk": "Name the worst risk and who would deal with it.",
    "time": "The first estimate of the time is usually too short.",
    "people": "Ask the people who will work with the result.",
    "evidence": "Collect evidence: measure before and after.",
    "maintenance": "Decide who does the maintenance in a year.",
    "security": "Check the security of everything that others can reach.",
    "reversibility": "Reversibility matters: prefer a step that you can undo.",
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
        "the benefits",
        ("people", "evidence", "time"),
        "this needs someone who will see it through",
        "part of the change has probably begun already",
    ),
    Persona(
        "skeptic",
        1,
        "the risks",
        ("risk", "cost", "evidence"),
        "doing nothing has a price too",
        "a cheaper change may solve the same problem",
    ),
    Persona(
        "engineer",
        2,
        "the effort to build and run it",
        ("maintenance", "time", "risk"),
        "this assumes that the interfaces stay as they are",
        "the hardest day is the one when it is half done",
    ),
    Persona(
        "main",
        2,
        "what is known so far",
        ("evidence", "reversibility"),
        "only the request itself was considered",
        "this can be decided in steps",
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
        f"what matters to {name}",
        tuple(aspects[(number + step) % len(aspects)] for step in (0, 3, 5)),
        f"this is only the view of {name}",
        f"{name} would ask first who needs it",
    )


def position(speaker: Persona, question: Question) -> str:
    """Return what ``speaker`` would do, as a clause."""
    return _stance(speaker, question)[0]


def opinion(speaker: Persona, question: Question) -> str:
    """Return the whole opinion of ``speaker``, one sentence a line."""
    stance, verdict = _stance(speaker, question)
    lines = [
        f"Position: {stance}.",
        f"Reason: looking at {speaker.lens}, {verdict}.",
        "Agree on how to measure success before you start.",
        *(ASPECTS[aspect] for aspect in speaker.aspects),
        f"Caveat: {speaker.caveat}.",
        f"Insight: {speaker.insight}.",
    ]
    return "\n".join(lines)


def _stance(speaker: Persona, question: Question) -> tuple[str, str]:
    stances = CHOICES if question.is_choice else STANCES
    return stances[(question.number + speaker.seat) % len(stances)]
