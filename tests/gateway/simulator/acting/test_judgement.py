"""What comparing answers finds."""

import pytest

from polyvox.gateway.simulator import plan
from polyvox.gateway.simulator.acting import judgement, rules
from polyvox.workflows.conversation import Conversation, user

QUESTION = "Should we move the billing system to Rust this year?"


def _opinion(persona: str) -> str:
    return rules.answer(Conversation((user(QUESTION),)), plan.parse(persona)).text


def _compared(*names: str) -> str:
    blocks = [f'<answer id="{name}">\n{_opinion(name)}\n</answer>' for name in names]
    return f"Compare.\n<question>{QUESTION}</question>\n" + "\n".join(blocks)


def test_three_personas_give_a_judge_something_under_every_heading() -> None:
    """Consensus, contradictions, partial coverage, unique insights, blind spots: none is empty."""
    found = judgement.findings(_compared("optimist", "skeptic", "engineer"))
    assert list(found) == list(judgement.HEADINGS)
    assert all(found.values()), found
    assert any("measure" in line for line in found["consensus"])
    assert any("optimist says" in line for line in found["contradictions"])


def test_a_report_quotes_only_what_answers_say() -> None:
    text = _compared("optimist", "skeptic", "engineer")
    for line in judgement.findings(text)["unique_insights"]:
        assert line.split(" says: ", 1)[1].rstrip(".") in text


def test_a_report_does_not_repeat_the_question() -> None:
    """Each answer begins with it, also where it has several sentences."""
    question = "Should I? Or not? Say so. It is urgent!"
    said = rules.answer(Conversation((user(question),)), plan.parse("optimist")).text
    found = judgement.findings(f'<answer id="A">{said}</answer><answer id="B">{said}</answer>')
    assert not [line for line in found["consensus"] if "urgent" in line or "turn 1" in line]


@pytest.mark.parametrize(
    "text",
    [
        '<answer id="A">Yes, do it.</answer><answer id="B">No, do not.</answer>',
        "<answer>Yes.</answer><answer>No.</answer>",
    ],
)
def test_answers_without_an_id_are_labelled_by_their_place(text: str) -> None:
    assert [answer.label for answer in judgement.answers(text)] == ["A", "B"]


def test_a_denied_claim_is_a_contradiction_not_consensus() -> None:
    """Plain prose, without any of the personas' own headings."""
    found = judgement.findings(
        '<answer id="A">The cache makes reads faster. Backups run daily at night.</answer>'
        '<answer id="B">The cache never makes reads faster. Backups run daily at night.</answer>'
    )
    assert found["consensus"] == ["All say: Backups run daily at night."]
    assert len(found["contradictions"]) == 1


def test_a_judge_without_answers_says_so() -> None:
    assert "none were given" in judgement.report("Compare these, please.")


def test_words_of_the_question_that_nobody_mentions_are_blind_spots() -> None:
    found = judgement.findings(
        "<question>Will latency suffer?</question>"
        '<answer id="A">It is fine.</answer><answer id="B">It is good.</answer>'
    )
    assert "latency" in found["blind_spots"][0]
