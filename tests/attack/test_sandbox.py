"""Checked code tries to escape from its sandbox, and to outlive its client."""

import asyncio
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from polyvox.activities.tools.bubblewrap import check_code
from polyvox.workflows.conversation import Conversation, Json
from polyvox.workflows.errors import ModelError
from tests.attack.sandboxing import FORKS, HOARDS, SMALL, check, python
from tests.programs.optional_parts import sandboxed
from tests.programs.processes import EXECUTABLE, Child, family_of, living, running
from tests.programs.running import until

pytestmark = sandboxed

SPY = Path(__file__).with_name("sandbox_spy.py").read_text("utf-8")
ROOT = Path(__file__).parent.parent.parent
KEY = "probe-key"
CANARY = "canary-7c1e5a"
FLOW = '''\
"""Runs what the client sends, so that the tests can attack the sandbox of a real server."""

import json

from polyvox.workflows import Params, Reply, Run, Text, flow


class Nothing(Params):
    pass


@flow
async def probe(run: Run[Nothing]) -> Reply:
    """Run a tool of the server with the parameters that the client sends."""
    asked = json.loads(run.conversation.messages[-1].text)
    result = await run.tool(asked["tool"], asked["params"], timeout_s=600)
    return Reply((Text(json.dumps(result)),))
'''


@contextmanager
def probed(folder: Path, environ: Mapping[str, str]) -> Iterator[tuple[Child, Path]]:
    """A server with the flow ``probe``, and its data folder."""
    data = folder / "data"
    file = folder / "probe.py"
    file.write_text(FLOW, "utf-8")
    (folder / "polyvox.toml").write_text("[server]\ndrain_s = 1.0\n", "utf-8")
    with running("up", "--port", "0", "--data", str(data), folder=folder, environ=environ) as child:
        child.ready()
        subprocess.run([EXECUTABLE, "register", file, "--data", data], check=True, timeout=60)
        yield child, data


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Child, Path]]:
    """A real server whose environment, data and working directory contain the canary."""
    folder = tmp_path_factory.mktemp("probed")
    (folder / ".env").write_text(f"KEY={CANARY}\n")
    environ = {"POLYVOX_KEY": KEY, "SOME_PROVIDER_KEY": CANARY}
    with probed(folder, environ) as found:
        (found[1] / "secret").write_text(CANARY)
        yield found


def ask(child: Child, tool: str, params: Json, timeout_s: float = 120) -> Any:
    """Have the server run ``tool`` and return its result."""
    document = {
        "model": "probe",
        "messages": [{"role": "user", "content": json.dumps({"tool": tool, "params": params})}],
    }
    answer = httpx.post(
        f"{child.base_url}/v1/chat/completions",
        json=document,
        headers={"x-api-key": KEY},
        timeout=timeout_s,
        trust_env=False,
    )
    assert answer.status_code == 200, answer.text
    return json.loads(answer.json()["choices"][0]["message"]["content"])


def spied(result: Any) -> Any:
    assert result["passed"], result
    return json.loads(result["output"].splitlines()[-1])


def test_a_file_cannot_read_the_servers_secrets(server: tuple[Child, Path]) -> None:
    """It is not in any process, file, descriptor, network or kernel; a planted one is found."""
    child, data = server
    name = f"polyvox-attack-{os.getpid()}"
    port = httpx.URL(child.base_url).port
    hidden = " ".join(
        map(str, (data, data.parent / ".env", ROOT / "pyproject.toml", Path.home() / ".ssh"))
    )
    command = f"python3 spy.py {CANARY[::-1]} {port} {name} {hidden}"
    with closing(socket.socket(socket.AF_UNIX)) as abstract:
        abstract.bind(f"\0{name}")
        abstract.listen()
        params = {"files": {"spy.py": SPY}, "commands": [command], "timeout_s": 120}
        (result,) = ask(child, "check_code", params)
        planted = {**params, "files": {"spy.py": SPY, "planted": CANARY}}
        (control,) = ask(child, "check_code", planted)
    assert spied(result) == {"found": [], "reached": []}
    assert spied(control)["found"] == ["/polyvox-sandbox/planted"]


def test_a_descriptor_the_server_has_open_is_not_inherited(tmp_path: Path) -> None:
    """This includes descriptors that child processes may inherit."""
    secret = tmp_path / "secret"
    secret.write_text(CANARY)
    descriptor = os.open(secret, os.O_RDONLY)
    os.set_inheritable(descriptor, True)
    try:
        done = check("ls -l /proc/self/fd /proc/1/fd; cat <&9 <&10 <&11")
    finally:
        os.close(descriptor)
    assert str(tmp_path) not in done["output"]
    assert CANARY not in done["output"]


@pytest.fixture
def as_ordinary_user() -> Callable[..., Any]:
    """Run ``check`` in a process of an unprivileged user."""
    interpreter = shutil.which("python3", path="/usr/bin:/bin")
    packages = [
        *(ROOT / part for part in ("activities", "protocols", "workflows")),
        *map(Path, sys.path),
    ]
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if os.getuid() != 0:
        pytest.skip("all other tests run as an ordinary user here")
    if interpreter is None or not _speaks(interpreter, version):
        pytest.skip(f"no Python {version} that other users may run")

    def run(command: str, **files: str) -> Any:
        program = (
            "import asyncio, json, sys\n"
            "from polyvox.activities.tools.bubblewrap import Limits, check_code\n"
            "from polyvox.workflows.conversation import Conversation\n"
            "limits = Limits(memory_mb=256, disk_mb=64, processes=64, open_files=64)\n"
            "params = json.loads(sys.argv[1])\n"
            "print(json.dumps(asyncio.run(check_code(params, Conversation(()), limits))))\n"
        )
        params = {
            "files": {name.replace("_", "."): text for name, text in files.items()},
            "commands": [command],
            "timeout_s": 60,
        }
        environ = {
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": ":".join(map(str, packages)),
            "SECRET": CANARY,
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        done = subprocess.run(
            [interpreter, "-c", program, json.dumps(params)],
            env=environ,
            user=54321,
            group=54321,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)[0]

    return run


def _speaks(interpreter: str, version: str) -> bool:
    told = subprocess.run([interpreter, "-V"], capture_output=True, text=True, check=False)
    return told.stdout.startswith(f"Python {version}.")


def test_the_border_also_holds_for_a_server_that_is_not_root(
    as_ordinary_user: Callable[..., Any],
) -> None:
    """Without root the sandbox uses a user namespace, and runs as the server's own user."""
    result = as_ordinary_user(f"python3 spy.py {CANARY[::-1]} 9 none {ROOT}", spy_py=SPY)
    assert spied(result) == {"found": [], "reached": []}
    forked = as_ordinary_user("python3 p.py", p_py=FORKS)
    assert int(forked["output"].splitlines()[-1]) < SMALL.processes
    assert "256 MiB of memory" in as_ordinary_user("python3 p.py", p_py=HOARDS)["output"]


def test_where_a_limit_cannot_be_set_nothing_is_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """If bubblewrap does not install the system call filter, nothing is run."""
    real = shutil.which("bwrap")
    careless = tmp_path / "bwrap"
    careless.write_text(
        "#!/bin/bash\n"
        'kept=()\nwhile [ $# -gt 0 ]; do case "$1" in --seccomp) shift 2;; '
        '*) kept+=("$1"); shift;; esac; done\n'
        f'exec {real} "${{kept[@]}}"\n'
    )
    careless.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(ModelError, match="filter of system calls is not in place") as refused:
        check("echo was run")
    assert refused.value.kind == "unsupported"


def test_a_command_that_goes_on_behind_its_back_is_stopped_with_it() -> None:
    """Background processes end before the next command."""
    first = "(setsid sh -c 'while :; do echo late > late; done' &) ; echo begun"
    second = "rm -f late; sleep 0.3; ls late 2>/dev/null || echo gone"
    params = {"commands": [first, second]}
    one, two = asyncio.run(check_code(params, Conversation(()), SMALL))
    assert (one["output"], two["output"]) == ("begun", "gone")


def test_a_command_gets_no_input_and_ends_in_time() -> None:
    """A command that reads standard input gets none; one that computes is stopped."""
    assert check("cat; echo ended")["output"] == "ended"
    done = python("import os\nos.fork(); os.fork()\nwhile True: pass", timeout_s=1)
    assert done["output"].endswith("Stopped after 1 s.")


def test_a_flood_of_output_keeps_head_and_tail_and_little_memory(
    server: tuple[Child, Path],
) -> None:
    """The server's memory does not grow with the output."""
    child, _ = server
    params = {"commands": ["echo first; head -c 500M /dev/zero; echo; echo last"]}
    ask(child, "check_code", {"commands": ["true"]})
    before = resident(child.process.pid)
    (done,) = ask(child, "check_code", params)
    assert done["output"].startswith("first")
    assert done["output"].endswith("last")
    assert "bytes are left out here" in done["output"]
    assert len(done["output"]) < 8000
    assert resident(child.process.pid) - before < 100 << 20


def resident(pid: int) -> int:
    """Return the most memory the process has ever had, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    raise AssertionError(f"process {pid} does not tell its memory")


def sandboxes(pid: int) -> set[int]:
    """Return the sandbox processes below ``pid``."""

    def is_one(process: int) -> bool:
        try:
            return b"/polyvox-runner.py" in Path(f"/proc/{process}/cmdline").read_bytes()
        except OSError:
            return False

    return {process for process in family_of(pid) if is_one(process)}


@contextmanager
def checking(child: Child, times: int, command: str) -> Iterator[Callable[[], None]]:
    """Start clients that have ``command`` checked; yield a function that disconnects them."""
    document = {"tool": "check_code", "params": {"commands": [command], "timeout_s": 300}}
    body = {"model": "probe", "messages": [{"role": "user", "content": json.dumps(document)}]}
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def one() -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=600) as client:
            await client.post(
                f"{child.base_url}/v1/chat/completions", json=body, headers={"x-api-key": KEY}
            )

    clients = [asyncio.run_coroutine_threadsafe(one(), loop) for _ in range(times)]

    async def left() -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def leave() -> None:
        asyncio.run_coroutine_threadsafe(left(), loop).result(60)

    try:
        yield leave
    finally:
        leave()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        assert all(client.done() for client in clients)


def test_a_client_that_leaves_takes_its_sandbox_with_it(server: tuple[Child, Path]) -> None:
    """The sandbox ends long before the command would."""
    child, _ = server
    with checking(child, 1, "sleep 300") as leave:
        pids = until(lambda: sandboxes(child.process.pid), "no sandbox was started")
        leave()
        until(lambda: not living(pids), "the sandbox runs on")


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_server_that_ends_takes_its_sandboxes_with_it(tmp_path: Path, end: str) -> None:
    """The sandbox ends if the server is killed or stopped."""
    with probed(tmp_path, {"POLYVOX_KEY": KEY}) as (child, _), checking(child, 1, "sleep 300"):
        pids = until(lambda: sandboxes(child.process.pid), "no sandbox was started")
        getattr(child, end)()
        until(lambda: not living(pids), "the sandbox runs on")


def test_ten_checks_at_once_do_not_keep_others_waiting(server: tuple[Child, Path]) -> None:
    """A chat and another tool take about as long as before."""
    child, _ = server
    calls = {"calls": [{"model": "demo:main", "input": 1, "output": 1}]}

    def median() -> float:
        taken = []
        for _ in range(9):
            begun = time.perf_counter()
            ask(child, "estimate_cost", calls)
            taken.append(time.perf_counter() - begun)
        return statistics.median(taken)

    alone = median()
    with checking(child, 10, "sleep 300"):
        until(lambda: len(sandboxes(child.process.pid)) >= 4, "the sandboxes were not started")
        assert median() < 6 * alone
    until(lambda: not sandboxes(child.process.pid), "sandboxes run on")


def test_many_checks_at_once_all_get_their_own_answer() -> None:
    """Sandboxes do not share files."""
    with ThreadPoolExecutor(6) as pool:
        said = pool.map(lambda n: check(f"echo {n} > f; sleep 0.2; cat f")["output"], range(12))
        assert [*said] == [str(n) for n in range(12)]
