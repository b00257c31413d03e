"""Run a command in a sandbox with small limits, and programs that exceed them."""

import asyncio
from typing import Any

from polyvox.activities.tools.bubblewrap import Limits, check_code
from polyvox.workflows.conversation import Conversation

SMALL = Limits(memory_mb=256, disk_mb=64, processes=64, open_files=64)


def check(command: str, limits: Limits = SMALL, timeout_s: float = 60, **files: str) -> Any:
    """Run one command with ``files`` (``_`` in a name stands for a dot)."""
    named = {name.replace("_", "."): text for name, text in files.items()}
    params = {"files": named, "commands": [command], "timeout_s": timeout_s}
    (done,) = asyncio.run(check_code(params, Conversation(()), limits))
    return done


def python(program: str, limits: Limits = SMALL, timeout_s: float = 60) -> Any:
    return check("python3 p.py", limits, timeout_s, p_py=program)


FORKS = """\
import os, time
count = 0
try:
    while True:
        if os.fork() == 0:
            time.sleep(300)
        count += 1
except OSError:
    print(count)
"""

HOARDS = """\
import os, time
for _ in range(20):
    if os.fork() == 0:
        kept = bytearray(60 << 20)
        time.sleep(300)
time.sleep(300)
"""


HIDES = """\
import mmap, time
kept = [mmap.mmap(-1, 60 << 20) for _ in range(12)]
for one in kept:
    one.write(b"x" * len(one))
    one.madvise(mmap.MADV_DONTNEED)
time.sleep(300)
"""
