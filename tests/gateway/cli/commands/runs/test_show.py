"""`polyvox runs` on a database another program part has open."""

import asyncio
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console, RenderableType
from typer.testing import CliRunner

from polyvox.activities.ledger.entries import CallEnded, EndStatus, Entry, RunEnded, RunStarted
from polyvox.activities.ledger.ledger import Ledger
from polyvox.activities.ledger.tables import RunRecord
from polyvox.activities.storage.database import database_file, file_url
from polyvox.gateway.cli.main import app
from polyvox.gateway.cli.output.run_tree import render_runs, render_tree
from polyvox.gateway.web_ui.address import UiAddress, write_ui_address
from polyvox.worker.engine.ports import EnginePorts, free_port, write_ports
from polyvox.workflows.errors import ErrorKind
from polyvox.workflows.reply import Usage

NOON = datetime(2030, 1, 2, 12, 0, tzinfo=UTC)


def after(milliseconds: int) -> datetime:
    return NOON + timedelta(milliseconds=milliseconds)


def entries() -> list[Entry]:
    """A fusion run whose second branch failed."""
    return [
        RunStarted("run-1", "careful", "fusion@1", "messages", True, "key_1", NOON),
        CallEnded(
            "run-1",
            "panel.1",
            1,
            "openai",
            "gpt-5",
            "completed",
            after(10),
            after(910),
            after(130),
            Usage(input=1200, cache_read=800, output=340, reasoning=300),
            cost_usd=0.0042,
        ),
        CallEnded(
            "run-1",
            "panel.2",
            2,
            "anthropic",
            "claude",
            "failed",
            after(11),
            after(700),
            error_kind="rate_limit",
            error_message="[bold]slow[/bold]\x1b[31m down",
            http_status=429,
        ),
        CallEnded(
            "run-1",
            "main",
            1,
            "openai",
            "gpt-5",
            "completed",
            after(1000),
            after(63_000),
            after(1400),
            Usage(input=5, output=2),
            cost_usd=0.00002625,
        ),
        RunEnded(
            "run-1",
            "completed",
            after(64_000),
            notes=(
                "2 of 3 branches",
                {"what": "shown to the judge", "A": "panel.1", "in_time": True},
                {
                    "what": "report",
                    "consensus": ["[b]all[/b] agree"],
                    "open": {"one": [], "two": 2},
                },
            ),
            losses=("top_k: no such field",),
        ),
    ]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    async def write() -> None:
        async with Ledger.open(file_url(database_file(tmp_path))) as ledger:
            for entry in entries():
                ledger.record(entry)
            ledger.record(
                RunStarted("run-2", "quick", "direct@1", "chat", False, None, after(90_000))
            )

    asyncio.run(write())
    return tmp_path


def read(data: Path, run_id: str) -> RunRecord:
    async def ask() -> RunRecord:
        async with Ledger.open(file_url(database_file(data))) as ledger:
            run = await ledger.run(run_id)
            assert run is not None
            return run

    return asyncio.run(ask())


def shown(renderable: RenderableType) -> list[str]:
    output = io.StringIO()
    Console(file=output, width=160, color_system=None).print(renderable)
    return [line.rstrip() for line in output.getvalue().splitlines()]


def polyvox_runs(*arguments: str, data: Path) -> str:
    done = CliRunner().invoke(app, ["runs", *arguments, "--data", str(data)])
    assert done.exit_code == 0, done.output
    return done.output


def test_the_tree_tells_what_happened_in_a_run(data: Path) -> None:
    """One line for the run, one per call in time order, failures in plain words, then the link."""
    link = "http://127.0.0.1:8484/ui/namespaces/default/workflows/run-1"
    assert shown(render_tree(read(data, "run-1"), link)) == [
        (
            "run run-1  fusion@1  model careful  completed  1 min 4 s"
            "  tokens in 1,205 + 800 from cache, out 342 (300 reasoning)"
            "  cost at least $0.0042 (1 call unknown)"
        ),
        (
            "├── panel.1  openai:gpt-5  attempt 1  completed  first token 120 ms, total 900 ms"
            "  tokens in 1,200 + 800 from cache, out 340 (300 reasoning)  cost $0.0042"
        ),
        (
            "├── panel.2  anthropic:claude  attempt 2  failed  total 689 ms  tokens unknown"
            "  cost unknown"
        ),
        (
            "│   └── The provider is limiting the request rate. (rate_limit, HTTP 429)"
            " [bold]slow[/bold] [31m down"
        ),
        (
            "├── main  openai:gpt-5  attempt 1  completed  first token 400 ms, total 1 min 2 s"
            "  tokens in 5, out 2  cost $0.000026"
        ),
        "├── note: 2 of 3 branches",
        "├── note: shown to the judge  A: panel.1  in_time: true",
        "├── note: report",
        "│   ├── consensus",
        "│   │   └── [b]all[/b] agree",
        "│   └── open",
        "│       ├── one: []",
        "│       └── two: 2",
        "└── not carried over: top_k: no such field",
        link,
    ]


def test_a_run_that_goes_on_has_no_duration_yet(data: Path) -> None:
    """What is not known is not shown, or shown as unknown."""
    assert shown(render_tree(read(data, "run-2"), None)) == [
        "run run-2  direct@1  model quick  running  tokens unknown"
    ]


def test_the_list_shows_the_newest_run_first(data: Path) -> None:
    """One row per run."""
    rows = polyvox_runs("list", data=data).splitlines()
    assert rows[0].split() == [
        "RUN",
        "STARTED",
        "MODEL",
        "FLOW",
        "STATUS",
        "DURATION",
        "IN",
        "OUT",
        "COST",
        "ERROR",
    ]
    assert [row.split()[0] for row in rows[1:]] == ["run-2", "run-1"]
    assert "1 min 4 s" in rows[2]
    assert "> $0.0042" in rows[2]


def test_the_list_is_narrowed_like_the_api(data: Path) -> None:
    """Limit, status and model."""
    assert len(json.loads(polyvox_runs("list", "--json", "--limit", "1", data=data))) == 1
    running = json.loads(polyvox_runs("list", "--json", "--status", "running", data=data))
    assert [run["run_id"] for run in running] == ["run-2"]
    careful = json.loads(polyvox_runs("list", "--json", "--model", "careful", data=data))
    assert [run["run_id"] for run in careful] == ["run-1"]


TERMINAL = 80


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A ledger of runs with whole ids, long names and every state; two began together."""
    data = tmp_path / "many"
    usage = Usage(input=123_456_789, output=9_876)

    async def write() -> None:
        async with Ledger.open(file_url(database_file(data))) as ledger:
            for at, (tail, error) in enumerate(ENDS):
                run_id = f"run_01a215d56e1{tail}"
                start = after(at * 1000)
                model = "team/careful-panel-of-three-with-a-judge"
                ledger.record(RunStarted(run_id, model, "fusion@12", "chat", True, None, start))
                ledger.record(
                    CallEnded(
                        run_id, "main", 1, "openai", "gpt-5", "completed", start,
                        after(754_000), usage=usage, cost_usd=1234.5,
                    )
                )  # fmt: skip
                end: EndStatus = "failed" if error else "completed"
                ledger.record(RunEnded(run_id, end, after(754_000), error_kind=error, usage=usage))

    asyncio.run(write())
    return data


ENDS: list[tuple[str, ErrorKind | None]] = [
    ("a" + "0" * 16, None),
    ("f" + "1" * 16, "provider_authentication"),
    ("f" + "2" * 16, "rate_limit"),
]


def narrow(data: Path) -> list[str]:
    async def ask() -> list[RunRecord]:
        async with Ledger.open(file_url(database_file(data))) as ledger:
            return await ledger.runs()

    output = io.StringIO()
    table = render_runs(asyncio.run(ask()), TERMINAL)
    Console(file=output, width=TERMINAL, color_system=None).print(table)
    return [line.rstrip() for line in output.getvalue().splitlines()]


def test_the_list_fits_a_terminal_of_80_columns(many: Path) -> None:
    """One line for each run, however long its names and numbers are."""
    rows = narrow(many)
    assert max(map(len, rows)) <= TERMINAL
    assert len(rows) == 1 + len(ENDS)
    assert rows[0].split() == ["RUN", "STARTED", "MODEL", "STATUS", "TIME", "IN", "OUT", "COST"]
    assert "team" in rows[1]
    assert "rate_limit" in rows[1]
    assert "completed" in rows[3]
    assert "123M" in rows[1]


def test_a_short_id_from_the_list_names_its_run(many: Path) -> None:
    """Also where two runs began in the same millisecond."""
    short = [row.split()[0] for row in narrow(many)[1:]]
    assert len({*short}) == len(ENDS)
    for name, (tail, _) in zip(short, reversed(ENDS), strict=True):
        shown_run = json.loads(polyvox_runs("show", name, "--json", data=many))
        assert shown_run["run_id"] == f"run_01a215d56e1{tail}"


def test_last_is_the_newest_run(data: Path, tmp_path: Path) -> None:
    """Of an empty ledger there is none."""
    assert json.loads(polyvox_runs("show", "last", "--json", data=data))["run_id"] == "run-2"
    empty = tmp_path / "empty"
    asyncio.run(Ledger.open(file_url(database_file(empty))).close())
    done = CliRunner().invoke(app, ["runs", "show", "last", "--data", str(empty)])
    assert done.exit_code == 1
    assert "There is no run 'last'" in done.stderr


def test_an_empty_list_says_so() -> None:
    """Nothing is not an empty screen."""
    assert shown(render_runs([])) == ["No runs."]


def test_show_prints_the_tree_and_the_link_through_the_servers_door(data: Path) -> None:
    """The link leads to the Web UI behind the server that ran last on the data folder."""
    write_ui_address(data, UiAddress("http://127.0.0.1:8484/ui", "default"))
    output = polyvox_runs("show", "run-1", data=data)
    assert "panel.2" in output
    assert "http://127.0.0.1:8484/ui/namespaces/default/workflows/run-1" in output


def test_show_as_json_is_the_document_of_the_api(data: Path) -> None:
    """Programs get numbers, not words; without an engine there is no link."""
    run = json.loads(polyvox_runs("show", "run-1", "--json", data=data))
    assert run["duration_ms"] == 64_000
    assert [call["first_token_ms"] for call in run["calls"]] == [120, None, 400]
    assert run["link"] is None
    assert run["cost"] == {"usd": 0.0042 + 0.00002625, "unknown_calls": 1}
    assert [call["cost_usd"] for call in run["calls"]] == [0.0042, None, 0.00002625]


def test_a_run_that_is_not_there_is_an_error(data: Path) -> None:
    """The exit status is 1 and the message says how to find runs."""
    done = CliRunner().invoke(app, ["runs", "show", "nothing", "--data", str(data)])
    assert done.exit_code == 1
    assert "There is no run 'nothing'" in done.stderr
    assert "polyvox runs list" in done.stderr


def test_a_folder_without_a_ledger_stays_as_it_is(tmp_path: Path) -> None:
    """Looking creates nothing; the message says how a ledger comes to be."""
    done = CliRunner().invoke(app, ["runs", "list", "--data", str(tmp_path)])
    assert done.exit_code == 1
    assert "polyvox up" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_folder_may_come_from_the_environment(data: Path) -> None:
    """POLYVOX_DATA saves typing --data."""
    done = CliRunner().invoke(app, ["runs", "list"], env={"POLYVOX_DATA": str(data)})
    assert done.exit_code == 0
    assert "run-1" in done.output


@pytest.mark.parametrize("words", [("approve", "run-2"), ("replay", "run-2")], ids=" ".join)
def test_an_engine_that_is_gone_is_told_plainly(data: Path, words: tuple[str, ...]) -> None:
    """Its address is known and nobody is there: the remedy, not the SDK's own words."""
    (data / "engine").mkdir()
    gone = free_port()
    write_ports(data / "engine" / "ports.json", EnginePorts(frontend=gone, ui=free_port()))
    done = CliRunner().invoke(app, ["runs", *words, "--data", str(data)])
    assert done.exit_code == 1
    told = f"The engine at 127.0.0.1:{gone} does not answer. Start the server with `polyvox up`."
    assert done.stderr == f"Error: {told}\n"


def test_a_running_run_is_shown_without_its_engine(data: Path) -> None:
    """What it waits for is then not known."""
    (data / "engine").mkdir()
    write_ports(data / "engine" / "ports.json", EnginePorts(frontend=free_port(), ui=free_port()))
    assert json.loads(polyvox_runs("show", "run-2", "--json", data=data))["questions"] is None
    assert json.loads(polyvox_runs("show", "run-1", "--json", data=data))["questions"] == []
