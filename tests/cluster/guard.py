"""Replaces itself with a member of the cluster, which then ends with the program that started it.

Run as a script, never imported: ``python guard.py PARENT_PID USER COMMAND...``. PostgreSQL refuses
to run as root; Linux forgets the signal when a process changes its user, so the user is first.
"""

import ctypes
import os
import pwd
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(parent: int, user: str, command: list[str]) -> None:
    """Become ``user`` unless it is empty, ask for SIGKILL at the parent's end, and execute."""
    if user:
        entry = pwd.getpwnam(user)
        os.setgroups([])
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit("The program that starts the cluster has ended.")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
