"""Starts that cannot succeed: what is printed, when, and with which exit status."""

import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from polyvox.worker.engine.ports import free_port
from tests.programs.processes import Child, running

WAITS = r"(Waiting up to 60 s for the Temporal cluster at \S+, namespace default)"
LIMIT_S = 30.0


def printed(child: Child) -> str:
    return child.output.read_text("utf-8", errors="replace")


def up(folder: Path, *words: str, **environ: str) -> Any:
    data = ("--data", str(folder / "data"))
    return running("up", "--port", "0", *data, *words, folder=folder, environ=environ)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("listens", [False, True], ids=["nobody listens", "a mute program"])
def test_a_start_that_waits_says_so_and_ends_on_the_first_signal(
    tmp_path: Path, number: signal.Signals, listens: bool
) -> None:
    """For what and for how long; the end is no error and no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1] if listens else free_port()
        with up(tmp_path, "--engine", f"127.0.0.1:{port}") as child:
            assert f"127.0.0.1:{port}" in child.printed(WAITS)
            child.process.send_signal(number)
            assert child.process.wait(LIMIT_S) == 0
            assert "Traceback" not in printed(child)
            assert printed(child).endswith("Stopped.\n")


@pytest.mark.parametrize("place", ["/proc/foo", "/sys/foo", "{file}"])
def test_a_data_folder_that_cannot_be_ends_the_start(tmp_path: Path, place: str) -> None:
    """One sentence and exit status 2."""
    (tmp_path / "file").touch()
    data = place.format(file=tmp_path / "file")
    with running("up", "--port", "0", "--data", data, folder=tmp_path) as child:
        assert child.process.wait(LIMIT_S) == 2
        (line,) = printed(child).splitlines()
        assert line.startswith(f"Error: The data folder {data!r} cannot be used (")


def test_all_mistakes_of_the_configuration_are_printed_at_once(tmp_path: Path) -> None:
    """Form, models and providers, each with its line."""
    (tmp_path / "polyvox.toml").write_text(
        '[server]\nprot = 1\n[models.a]\nflow = "no"\n'
        '[models.b]\nflow = "direct"\nparams = { model = "nobody:main" }\n',
        "utf-8",
    )
    with up(tmp_path) as child:
        assert child.process.wait(LIMIT_S) == 1
        lines = printed(child).splitlines()
    assert [line.partition(", line ")[2].partition(":")[0] for line in lines] == ["2", "4", "7"]


def test_a_mistake_in_a_model_alone_has_its_line_too(tmp_path: Path) -> None:
    (tmp_path / "polyvox.toml").write_text('[models.a]\nflow = "no"\n', "utf-8")
    with up(tmp_path) as child:
        assert child.process.wait(LIMIT_S) == 1
        assert "polyvox.toml, line 2: models.a.flow: There is no flow 'no'." in printed(child)
        assert "Traceback" not in printed(child)


def test_the_printed_lines_name_the_first_own_model_with_its_window(tmp_path: Path) -> None:
    """The simulated models of the first start are gone, and the lines say what is."""
    with up(tmp_path, POLYVOX_KEY="a-key-that-is-long-enough") as child:
        child.ready()
        assert "simulated-fusion" in printed(child)
        child.stop()
    (tmp_path / "polyvox.toml").write_text(
        '[models.zebra]\nflow = "direct"\nparams = { model = "simulator:main" }\n'
        "card = { context_window = 123_000 }\n"
        '[models.ant]\nflow = "direct"\nparams = { model = "simulator:main" }\n',
        "utf-8",
    )
    with up(tmp_path, POLYVOX_KEY="a-key-that-is-long-enough") as child:
        child.ready()
        child.printed(r"(-m \S+)")
        child.stop()
        text = printed(child)
    models, lines = text.split("Providers")
    assert "simulated" not in models.split("Base URL")[1]
    assert "Model simulated-fusion is retired" in models
    assert '"model": "zebra"' in lines
    assert "CLAUDE_CODE_MAX_CONTEXT_TOKENS=123000 claude --model zebra" in lines
    assert "-c model_context_window=123000 -m zebra" in lines
    assert "ant" not in [word for line in lines.splitlines() for word in line.split()]


def test_simulated_models_stay_if_they_are_asked_for(tmp_path: Path) -> None:
    """Beside the operator's own, which the lines name."""
    (tmp_path / "polyvox.toml").write_text(
        "[server]\nsimulated_models = true\n"
        '[models.mine]\nflow = "direct"\nparams = { model = "simulator:main" }\n',
        "utf-8",
    )
    with up(tmp_path) as child:
        child.ready()
        child.printed(r"(-m mine)")
        child.stop()
        assert "simulated-fusion" in printed(child)
