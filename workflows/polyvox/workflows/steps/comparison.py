"""Answers of several models, compared by a judge that does not know whose they are."""

from dataclasses import dataclass
from string import ascii_uppercase

from polyvox.workflows.conversation import Conversation, Json, Message, Text, user


@dataclass(frozen=True, slots=True)
class Comparison:
    """Up to 26 answers to one problem, which a judge gets with letters instead of model names.

    Judges favour certain positions; shuffle the answers with ``run.random()``.

    Example::

        branches = [Branch(model, model, run.conversation) for model in run.params.models]
        panel = await run.panel(branches, quorum=2, grace_s=20)
        answers = [reply.text for _, reply in panel.answers]
        run.random().shuffle(answers)
        comparison = Comparison(run.conversation.last_user_text, tuple(answers))
        asked = comparison.conversation("Say which answer is the best, and why.")
        verdict = await run.ask(run.params.model, asked, step="verdict")
    """

    problem: str
    answers: tuple[str, ...]

    @property
    def letters(self) -> str:
        """The letters of the answers, in their order."""
        return ascii_uppercase[: len(self.answers)]

    @property
    def listed(self) -> str:
        """The answers as one text, each in an ``<answer>`` element with its letter as ``id``."""
        pairs = zip(self.letters, self.answers, strict=True)
        return "\n\n".join(f'<answer id="{letter}">\n{text}\n</answer>' for letter, text in pairs)

    def conversation(self, prompt: str) -> Conversation:
        """Return what the judge is asked; ``prompt`` is its instruction."""
        told = f"<problem>\n{self.problem}\n</problem>\n\n{self.listed}"
        return Conversation((user(told),), system=Message("system", (Text(prompt),)))


def points_by_heading(text: str) -> dict[str, Json]:
    """Return the lines of a Markdown ``text`` under each heading, without list marks.

    ``## Blind spots`` becomes the key ``blind_spots``. Lines before the first heading are left out.

    Example::

        verdict = await run.ask(run.params.model, step="verdict")
        run.note("verdict", **points_by_heading(verdict.text))
    """
    points: dict[str, Json] = {}
    listed: list[Json] = []
    for line in text.splitlines():
        if line.startswith("#"):
            heading = line.lstrip("#").strip() or line.strip()
            points[heading.lower().replace(" ", "_")] = listed = []
        elif line.strip():
            listed.append(line.lstrip("-* ").strip())
    return points
