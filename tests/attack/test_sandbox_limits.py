"""Checked code tries to exceed its limits."""

import pytest

from tests.attack.sandboxing import FORKS, HIDES, HOARDS, SMALL, python
from tests.programs.optional_parts import sandboxed

pytestmark = sandboxed


def test_a_fork_bomb_meets_its_limit() -> None:
    """The kernel refuses the next process. It does not count root's, so the code is not root."""
    done = python(FORKS)
    assert int(done["output"].splitlines()[-1]) < SMALL.processes
    threads = python(
        "import threading, time\n"
        "count = 0\n"
        "try:\n"
        "    while True:\n"
        "        threading.Thread(target=time.sleep, args=(300,), daemon=True).start()\n"
        "        count += 1\n"
        "except RuntimeError:\n"
        "    print(count, flush=True)\n"
        "    import os; os._exit(0)\n"
    )
    assert int(threads["output"].splitlines()[-1]) < SMALL.processes


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("kept = []\nwhile True: kept.append(bytearray(10 << 20))", "256 MiB of memory"),
        (HOARDS, "256 MiB of memory"),
        (
            HIDES,
            "256 MiB of",
        ),
        ("n = 0\nwhile True:\n    open(str(n), 'w').close()\n    n += 1", "100,000 files"),
    ],
    ids=["one process", "many processes", "memory that is not resident", "empty files"],
)
def test_a_hoarder_is_stopped_and_told_why(program: str, told: str) -> None:
    """All processes count together, including the files they wrote."""
    done = python(program)
    assert (done["passed"], done["exit"]) == (False, None)
    assert "Stopped: it " in done["output"]
    assert told in done["output"]


@pytest.mark.parametrize("folder", [".", "/tmp", "/dev/shm"])
def test_a_disk_has_an_end(folder: str) -> None:
    """Many files or one: the folders are memory of a fixed size, not on the server's disk."""
    program = (
        "import os\nwritten = n = 0\n"
        "try:\n"
        "    while True:\n"
        f"        with open(f'{folder}/{{n}}', 'wb', buffering=0) as opened:\n"
        "            for _ in range(8): written += opened.write(b'x' * (1 << 20))\n"
        "        n += 1\n"
        "except OSError:\n    print(written >> 20)\n"
    )
    assert int(python(program)["output"].splitlines()[-1]) <= SMALL.disk_mb


def test_a_limit_cannot_be_raised() -> None:
    """Neither directly, nor with a new namespace or a privilege."""
    program = (
        "import resource\n"
        "for name in ('NPROC', 'AS', 'NOFILE', 'FSIZE', 'CPU', 'CORE', 'MEMLOCK'):\n"
        "    kind = getattr(resource, 'RLIMIT_' + name)\n"
        "    assert resource.getrlimit(kind)[1] != resource.RLIM_INFINITY, name\n"
        "    try:\n"
        "        resource.setrlimit(kind, (resource.RLIM_INFINITY,) * 2)\n"
        "        print('raised', name)\n"
        "    except ValueError:\n        pass\n"
        "status = open('/proc/self/status').read()\n"
        "held = [l for l in status.splitlines() if l[:6] in ('CapEff', 'CapPrm', 'CapAmb')]\n"
        "print([l for l in held if int(l.split()[1], 16)])\n"
        "opened = []\n"
        "try:\n    while True: opened.append(open('/dev/null'))\n"
        "except OSError:\n    print(len(opened) < 64)\n"
    )
    assert python(program)["output"] == "[]\nTrue"
