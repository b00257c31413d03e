"""The rules of the tree that no linter checks."""

import ast
import asyncio
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parent.parent
PARTS = ("workflows", "protocols", "activities", "worker", "gateway")
LONGEST = 400
FORBIDDEN = {"utils", "helpers", "common", "base", "manager", "service", "core"}

# Runs in a process of its own, so that nothing has been imported before it looks.
IMPORT_EVERYTHING = textwrap.dedent(
    """
    import gc, importlib, os, pkgutil, socket, sys, threading

    def forbid(event, args):
        if event in {"socket.connect", "socket.getaddrinfo", "_thread.start_new_thread"}:
            raise AssertionError(f"{event} while importing: {args!r}")

    sys.addaudithook(forbid)
    import polyvox

    def fail(name):
        raise

    names = [m.name for m in pkgutil.walk_packages(polyvox.__path__, "polyvox.", fail)]
    for name in names:
        if not name.endswith(".__main__"):
            importlib.import_module(name)

    assert threading.active_count() == 1, threading.enumerate()
    if os.path.isdir("/proc/self/task"):
        native = len(os.listdir("/proc/self/task"))
        assert native == 1, f"{native - 1} native threads are running"
    sockets = [o for o in gc.get_objects() if isinstance(o, socket.socket) and o.fileno() != -1]
    assert not sockets, sockets
    print(*names)
    """
)


def source_files() -> Iterator[Path]:
    for folder in (*PARTS, "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            if "node_modules" not in path.parts:
                yield path


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports inside functions count too."""
    graph = grimp.build_graph(*(f"polyvox.{part}" for part in PARTS), cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert any(imports.values())
    TopologicalSorter(imports).prepare()  # raises CycleError, which names a circle


def test_no_file_is_longer_than_a_reader_can_hold() -> None:
    """A file above the limit has more than one subject: split it."""
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in source_files()}
    assert lengths, f"no source files below {ROOT}"
    too_long = {str(p.relative_to(ROOT)): n for p, n in lengths.items() if n > LONGEST}
    assert not too_long


def test_no_module_has_a_name_that_says_nothing() -> None:
    """A module is named after its one subject; names for leftovers are not allowed."""
    named = {
        path: {part.removesuffix(".py") for part in path.relative_to(ROOT).parts}
        for path in source_files()
    }
    assert not [str(path) for path, names in named.items() if names & FORBIDDEN]


def test_the_namespace_belongs_to_no_single_folder() -> None:
    """A file directly in `polyvox/` would hide the other folders or belong to all of them."""
    for part in PARTS:
        holder = ROOT / part / "polyvox"
        assert [p.name for p in holder.iterdir() if p.name != "__pycache__"] == [part]
        assert (holder / part / "__init__.py").is_file()
        assert (holder / part / "py.typed").is_file()


def test_importing_does_nothing() -> None:
    """No import starts a thread, opens a socket or looks up a host."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_EVERYTHING],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert {f"polyvox.{part}" for part in PARTS} <= set(done.stdout.split())


def test_one_module_starts_runs() -> None:
    """Everything else asks ``start``, so a run is recorded and its errors are told in one way."""
    starting = {
        str(path.relative_to(ROOT))
        for part in PARTS
        for path in (ROOT / part).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "start_workflow"
    }
    assert starting == {"worker/polyvox/worker/runs/start.py"}


def test_a_test_cannot_leave_this_machine() -> None:
    """The guard in conftest refuses every address but loopback ones, named or numbered."""
    for host in ("192.0.2.1", "example.invalid"):
        with (
            socket.socket() as sock,
            pytest.raises(AssertionError, match="loopback only"),
        ):
            sock.connect((host, 80))


async def test_a_test_cannot_leave_this_machine_through_asyncio() -> None:
    """The guard sees what an event loop connects, not only what blocks."""
    with pytest.raises(AssertionError, match="loopback only"):
        await asyncio.open_connection("192.0.2.1", 80)


def test_a_test_may_use_loopback() -> None:
    """A server of the test's own is reached as usual."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), timeout=5) as client,
    ):
        assert client.getpeername() == server.getsockname()
