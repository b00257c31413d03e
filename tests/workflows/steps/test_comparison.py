"""Answers under letters, and a judge's report as data."""

from polyvox.workflows import Comparison, Text, points_by_heading


def test_a_judge_sees_letters_and_no_names() -> None:
    """The problem comes first, then each answer in an element of its own."""
    comparison = Comparison("Which cache?", ("Redis.", "None."))
    asked = comparison.conversation("Compare them.")
    assert asked.system is not None
    assert asked.system.parts == (Text("Compare them."),)
    assert asked.last_user_text == (
        "<problem>\nWhich cache?\n</problem>\n\n"
        '<answer id="A">\nRedis.\n</answer>\n\n'
        '<answer id="B">\nNone.\n</answer>'
    )


def test_a_letter_belongs_to_each_answer() -> None:
    """They are in the order of the answers, so that a note can say whose letter is which."""
    comparison = Comparison("Which cache?", ("Redis.", "None.", "Both."))
    assert comparison.letters == "ABC"
    assert comparison.listed.endswith('<answer id="C">\nBoth.\n</answer>')


def test_a_report_is_a_list_of_points_for_each_heading() -> None:
    """List marks and empty lines are left out, as is what stands before the first heading."""
    report = "Here it is.\n## Consensus\n- Redis is fast\n\n* and known\n## Blind spots\nthe cost"
    assert points_by_heading(report) == {
        "consensus": ["Redis is fast", "and known"],
        "blind_spots": ["the cost"],
    }
