"""Fuzzes for as many minutes as it is told: ``python -m tests.fuzz 60``.

Rounds of the tests beside this one, each with a seed of its own, until the time is up, a round
fails or the process has grown past the limit: what leaks shows after some rounds.
"""

import resource
import secrets
import sys
import time

import pytest

MOST_MIB = 1024


def main(minutes: float) -> int:
    end = time.monotonic() + minutes * 60
    number = 0
    while number == 0 or time.monotonic() < end:
        number += 1
        seed = secrets.randbelow(2**32)
        arguments = ["-q", "-x", "--timeout=0", "--no-header"]
        failed = pytest.main(
            ["tests/fuzz", *arguments, "--hypothesis-profile=fuzz", f"--hypothesis-seed={seed}"]
        )
        grown_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(f"Round {number}, seed {seed}: at most {grown_mib} MiB so far.", flush=True)
        if failed:
            return int(failed)
        if grown_mib > MOST_MIB:
            print(f"The process has grown past {MOST_MIB} MiB.")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
