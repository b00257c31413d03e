"""Replaces itself with the engine, after arranging that the engine does not outlive the program.

Run as a script, never imported: ``python guard.py PARENT_PID BINARY ARGUMENT...``. It is a separate
program, because code between fork and exec in a program with threads may deadlock on a lock that
another thread held.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(parent: int, command: list[str]) -> None:
    """Ask Linux for a SIGKILL when the parent ends, then execute ``command``."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # There is no signal if the parent ended before the request.
    if os.getppid() != parent:
        sys.exit("The program has ended; the engine is not started.")
    # The engine's files contain requests and answers, so only their owner may read them.
    os.umask(0o077)
    try:
        os.execv(command[0], command)
    except OSError as error:
        sys.exit(f"The engine {command[0]!r} cannot be run: {error.strerror}.")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
