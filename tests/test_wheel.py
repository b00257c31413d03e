"""The wheel in a clean environment: it has everything, and `polyvox demo` works from it.

Its dependencies are those of this environment, so that the test needs no network. The tests marked
``e2e`` let the installers fetch them.
"""

import os
import shutil
import site
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
UV = Path(sys.executable).parent / "uv"
LIMIT_S = 100.0
CERTIFICATES = "--system-certs"
"""An index on a private network may have a certificate of the machine's own authority."""


def run(*words: str | Path, cwd: Path = ROOT, limit_s: float = LIMIT_S) -> str:
    """Run a program to its end and return what it prints; it must succeed."""
    foreign = ("OTEL_", "POLYVOX_", "TEMPORAL_", "PYTHON")
    environ = {name: os.environ[name] for name in os.environ if not name.startswith(foreign)}
    done = subprocess.run(
        [*map(str, words)],
        cwd=cwd,
        env={**environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this repository."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_has_every_file_of_the_packages(wheel: Path) -> None:
    """Also those that are no modules: migrations, marks of typed packages."""
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("polyvox/")}
    parts = [ROOT / part for part in ("workflows", "protocols", "activities", "worker", "gateway")]
    source = {
        str(path.relative_to(part))
        for part in parts
        for path in (part / "polyvox").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == source


@pytest.fixture(params=["pip", "uv"])
def environment(wheel: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """The folder of the programs of a clean environment with the wheel."""
    folder = tmp_path / "clean"
    programs = folder / "bin"
    if request.param == "pip":
        run(sys.executable, "-m", "venv", folder)
        run(programs / "python", "-m", "pip", "install", "--no-index", "--no-deps", wheel)
    else:
        run(UV, "venv", "--python", sys.executable, folder)
        options = ("--offline", "--no-deps", "--python", programs / "python")
        run(UV, "pip", "install", *options, wheel)
    packages = run(programs / "python", "-c", "import site; print(site.getsitepackages()[0])")
    # Files with paths inside a folder that is added this way are not read, so the editable
    # installation of this repository is not part of it.
    Path(packages.strip(), "dependencies.pth").write_text(site.getsitepackages()[0] + "\n", "utf-8")
    return programs


def test_the_demo_works_from_the_wheel(environment: Path, tmp_path: Path) -> None:
    """Nothing is read from the clone."""
    where = "import polyvox.gateway.program as it; print(it.__file__)"
    file = run(environment / "python", "-I", "-c", where, cwd=tmp_path)
    assert file.startswith(str(environment.parent))
    said = run(environment / "polyvox", "--version", cwd=tmp_path)
    assert said == f"polyvox {version('polyvox')}\n"
    shown = run(environment / "polyvox", "demo", cwd=tmp_path)
    assert "[simulated:main] " in shown
    assert "fusion@1  model simulated-fusion  completed" in shown


@pytest.mark.e2e
@pytest.mark.timeout(600)
@pytest.mark.parametrize("installer", ["uvx", "pipx"])
def test_the_demo_works_from_the_wheel_alone(wheel: Path, tmp_path: Path, installer: str) -> None:
    """The installers fetch what the wheel requires."""
    spec = f"{wheel}[demo]"
    if installer == "pipx" and not shutil.which("pipx"):
        words: tuple[str | Path, ...] = (
            UV,
            "tool",
            "run",
            CERTIFICATES,
            "pipx",
            "run",
            "--spec",
            spec,
        )
    elif installer == "pipx":
        words = ("pipx", "run", "--spec", spec)
    else:
        words = (UV, "tool", "run", CERTIFICATES, "--from", spec)
    shown = run(*words, "polyvox", "demo", cwd=tmp_path, limit_s=500)
    assert "fusion@1  model simulated-fusion  completed" in shown
