"""The matrix without clients: its cells, reasons and verdicts."""

from pathlib import Path
from typing import Any

from tests.e2e.matrix.report import LEGEND, Judged, clients, table, versions
from tests.e2e.matrix.rows import ABSENT, ROWS, SHOWS, Cell, cells
from tests.e2e.matrix.scenario import SCENARIOS
from tests.e2e.matrix.verdict import Outcome, Verdict, judge

ANSWER = "[simulated:main] 17 + 25 = 42."


def cell(client: str, scenario: str) -> Cell:
    return next(c for c in cells(client, scenario) if c.provider == "chat")


def run(status: str, protocol: str, **members: Any) -> dict[str, Any]:
    calls = [{"step": "main"}]
    return {"run_id": "run_1", "status": status, "protocol": protocol, "calls": calls, **members}


def test_every_cell_has_a_simulated_model_of_its_own() -> None:
    """Faults are counted by model name, so two cells must not share a name."""
    names = [cell.upstream for cell in cells()]
    assert len(names) == len(set(names)) == 3 * len(ROWS) * len(SCENARIOS)
    assert len({cell.model for cell in cells()}) == len(names)


def test_every_reason_belongs_to_a_cell() -> None:
    """Every reason belongs to a client and a column that exist."""
    known = {(c.row.client, c.row.protocol, c.scenario.name) for c in cells()}
    assert set(SHOWS) <= known
    assert set(ABSENT) <= {(client, scenario) for client, _, scenario in known}


def test_a_word_chooses_clients_and_protocols() -> None:
    """``only`` matches parts of names, in any case."""
    assert {c.row.protocol for c in cells("opencode")} == {"chat", "responses", "messages"}
    assert {c.row.client for c in cells("CLINE/chat,aider/mess")} == {"Cline", "aider"}
    assert not cells("nobody")


def test_an_answer_from_one_completed_run_passes() -> None:
    """The plain column requires the answer, over the row's protocol, after one request."""
    plain, answered = cell("codex", "plain"), Outcome(ANSWER, ANSWER, failed=False)
    assert judge(plain, answered, [run("completed", "responses")]) == Verdict("passed")
    for runs in (
        [],
        [run("completed", "chat")],
        [run("cancelled", "responses"), run("completed", "responses")],
        [run("completed", "responses"), run("completed", "responses")],
    ):
        assert judge(plain, answered, runs).mark == "failed"


def test_half_an_answer_taken_for_one_fails() -> None:
    """A client that succeeds with only the text before the cut has not recovered."""
    cut = cell("codex", "cut")
    runs = [run("failed", "responses")]
    assert judge(cut, Outcome("[simulated:main]", "", failed=False), runs).mark == "failed"
    runs.append(run("completed", "responses"))
    assert judge(cut, Outcome(ANSWER, "", failed=False), runs) == Verdict("passed")


def test_an_error_counts_only_if_it_is_expected_and_shown() -> None:
    """If a client does not retry, its user must see the error and the run's id."""
    cut, runs = cell("cline/chat", "cut"), [run("failed", "chat")]
    shown = Outcome("", "It broke off. (run run_1)", failed=True)
    assert judge(cut, shown, runs).mark == "shown"
    assert judge(cut, Outcome("", "Something went wrong", failed=True), runs).mark == "failed"
    assert judge(cut, Outcome(ANSWER, "run_1", failed=False), runs).mark == "failed"
    assert judge(cut, Outcome(stuck="It hung. (run run_1)"), runs).mark == "failed"


def test_the_table_shows_each_cell_and_why_it_is_empty() -> None:
    """One line for client, protocol and provider; failures and unsupported cells below it."""
    aider = cell("aider/chat", "tool")
    judged = [
        Judged(cell("aider/chat", "plain"), Verdict("failed", "it said nothing")),
        Judged(aider, Verdict("absent", aider.absent or "")),
    ]
    shown = table(judged)
    assert shown.splitlines()[1].split() == ["aider", "chat", "chat", "✗", "-"]
    assert LEGEND in shown
    assert "✗ aider, chat, plain (over chat): it said nothing" in shown
    assert f"- aider, chat, tool (over chat): {ABSENT['aider', 'tool']}" in shown


def test_every_client_is_pinned_to_one_version() -> None:
    """The clients are tested at the versions in the lock files; no version is a range."""
    assert len(versions()) >= 20
    assert all(version[0].isdigit() and "x" not in version for version in versions().values())


def test_the_page_lists_the_clients_as_they_are() -> None:
    """docs/clients.md contains the table made from the rows; on failure this prints the new one."""
    page = Path(__file__).parents[2] / "docs" / "clients.md"
    assert clients() in page.read_text("utf-8"), clients()
