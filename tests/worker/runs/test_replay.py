"""Committed runs of every version are replayed, so no change breaks runs that have begun.

The rule for changes of the host and of what flows import is in ``docs/decisions/0026``.
"""

import json
import re
from importlib.metadata import version
from pathlib import Path

import pytest

from polyvox.worker.runs.export import ExportedRun, parse_exported, replay_exported
from polyvox.worker.settings.shipped_templates import TEMPLATES
from polyvox.workflows.errors import ModelError

DOCSTRING = (
    '"""A panel answers in parallel, a judge reports, the main model writes the answer live."""'
)

ROOT = Path(__file__).parents[3]
HISTORIES = sorted((ROOT / "tests" / "histories").glob("*/*.json"))


def exported(file: Path, before: str = "", after: str = "") -> ExportedRun:
    """Return a committed run, one text of its flow replaced."""
    document = json.loads(file.read_text("utf-8"))
    assert not before or before in document["source"]
    document["source"] = document["source"].replace(before, after) if before else document["source"]
    return parse_exported(json.dumps(document))


def named(name: str) -> Path:
    return next(file for file in HISTORIES if file.stem == name)


@pytest.mark.parametrize("file", HISTORIES, ids=lambda file: f"{file.parent.name}/{file.stem}")
async def test_a_run_of_an_earlier_program_goes_on_with_this_one(file: Path) -> None:
    """Every piece of work and the end are the same, with the flow version it began with."""
    verdict = await replay_exported(exported(file))
    assert verdict.holds, verdict.difference


def test_every_version_has_runs_of_every_flow_that_it_ships() -> None:
    """The versions are those of the changelog, and the one that is being made."""
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    released = set(re.findall(r"^## \[(\d[^\]]*)\]", changelog, re.MULTILINE))
    recorded = {file.parent.name for file in HISTORIES}
    assert recorded == {*released, version("polyvox")}
    newest = [file for file in HISTORIES if file.parent.name == version("polyvox")]
    assert {file.stem.partition("-")[0] for file in newest} == {*TEMPLATES}


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('step="synthesis"', 'step="report"', "work 5: the record has step 'synthesis' asking"),
        ("You compare the answers", "Compare the answers", "asking sim-chat:judge: the code gives"),
        (DOCSTRING, "await run.ask(run.params.judge, step='first')", "the code does step 'first'"),
        ("return await run.converse(params.main", "return await run.ask(params.main", ""),
    ],
)
async def test_the_first_difference_is_told_in_plain_words(
    before: str, after: str, says: str
) -> None:
    """Another step, another wording, one step more: named, with what the record has."""
    verdict = await replay_exported(exported(named("fusion-auto"), before, after))
    assert not verdict.holds
    assert says in verdict.difference, verdict.difference


async def test_a_run_that_failed_must_fail_the_same_way() -> None:
    """An error is a result like any other."""
    source = 'return await run.ask(run.params.model, step="main", emit=True)'
    caught = (
        f"try:\n        {source}\n    except Exception:\n        raise ValueError('x') from None"
    )
    verdict = await replay_exported(exported(named("direct-failed"), source, caught))
    assert not verdict.holds
    assert "the code now fails with" in verdict.difference


def test_what_is_no_exported_run_is_refused() -> None:
    """The message says what would be one."""
    with pytest.raises(ModelError, match="polyvox runs export"):
        parse_exported('{"history": []}')
