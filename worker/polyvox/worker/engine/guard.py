"""Becomes the engine, having made sure that the engine does not outlive the program.

Run as a script, never imported: ``python guard.py PARENT_PID BINARY ARGUMENT...``. A
separate step between fork and exec, because code run in a forked copy of a program with threads
may wait for ever on a lock that another thread held.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(parent: int, command: list[str]) -> None:
    """Ask Linux for a SIGKILL at the parent's death, then replace this process."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # A parent that died before the request took hold sends no signal any more.
    if os.getppid() != parent:
        sys.exit("The program has ended; the engine is not started.")
    # The engine's files hold what the runs were asked and answered: nobody else may read them.
    os.umask(0o077)
    try:
        os.execv(command[0], command)
    except OSError as error:
        sys.exit(f"The engine {command[0]!r} cannot be run: {error.strerror}.")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
