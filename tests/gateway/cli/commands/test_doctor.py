"""`polyvox doctor`: what `polyvox up` would refuse is found, with the same options."""

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from polyvox.gateway.cli.main import app


def findings(tmp_path: Path, *words: str, **environ: str) -> dict[str, Any]:
    known = ["doctor", "--json", "--data", str(tmp_path / "data"), "--port", "0"]
    done = CliRunner().invoke(app, [*known, *words], env={"POLYVOX_KEY": "", **environ})
    return {finding["check"]: finding for finding in json.loads(done.stdout)}


def test_the_models_of_the_configuration_are_checked(tmp_path: Path) -> None:
    """A flow that does not exist is not ok."""
    config = tmp_path / "polyvox.toml"
    config.write_text('[server]\nprot = 1\n[models.a]\nflow = "no"\n', "utf-8")
    found = findings(tmp_path, "--config", str(config))["config"]
    assert found["status"] == "fail"
    first, second = found["detail"].splitlines()
    assert first.startswith(f"{config}, line 2: server.prot:")
    assert second.startswith(f"{config}, line 4: models.a.flow: There is no flow 'no'.")


def test_a_key_that_up_would_refuse_is_found(tmp_path: Path) -> None:
    """Without showing it."""
    (tmp_path / "polyvox.toml").touch()
    words = ("--config", str(tmp_path / "polyvox.toml"))
    found = findings(tmp_path, *words, "--host", "0.0.0.0", POLYVOX_KEY="abc")
    assert found["Polyvox's keys"]["status"] == "fail"
    assert "has 3 characters" in found["Polyvox's keys"]["detail"]
    assert findings(tmp_path, *words, POLYVOX_KEY="abc")["Polyvox's keys"]["status"] == "ok"


def test_a_folder_that_cannot_be_written_is_found(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    found = findings(tmp_path)["data folder"]
    assert found["status"] == "fail"
    assert "is not a folder" in found["detail"]
