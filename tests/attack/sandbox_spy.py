"""Run inside the sandbox: search for a secret everywhere and print its places as JSON.

Arguments: the secret reversed (so that the arguments do not hold it), the server's port, the name
of an abstract socket, and paths that must not exist.
"""

import contextlib
import ctypes
import json
import os
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

NEEDLE = sys.argv[1][::-1].encode()
PORT, SOCKET, PATHS = int(sys.argv[2]), sys.argv[3], sys.argv[4:]
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/proc", "/sys", "/dev/pts")
MOST = 1 << 20
found: list[str] = []
reached: list[str] = []


def look(where: object, content: bytes) -> None:
    if NEEDLE in content:
        found.append(str(where))


def look_into(path: Path) -> None:
    with contextlib.suppress(OSError, ValueError):
        if stat.S_ISREG(path.stat().st_mode) and path.stat().st_size <= MOST:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            try:
                look(path, os.read(descriptor, MOST))
            finally:
                os.close(descriptor)


def files_below(top: str, leave_out: tuple[str, ...] = ()) -> Iterator[Path]:
    for folder, folders, files in os.walk(top):
        folders[:] = [f for f in folders if str(Path(folder, f)) not in leave_out]
        look(folder, "\n".join([*folders, *files]).encode(errors="replace"))
        for file in files:
            yield Path(folder, file)


def processes() -> None:
    for folder in Path("/proc").glob("[0-9]*"):
        for name in ("environ", "cmdline", "comm", "maps", "mountinfo", "status", "stack"):
            look_into(folder / name)
        for name in ("cwd", "root"):
            with contextlib.suppress(OSError):
                look(folder / name, str((folder / name).readlink()).encode())
        with contextlib.suppress(OSError):
            for path in (folder / "fd").iterdir():
                look(path, str(path.readlink()).encode())
                if folder.name != str(os.getpid()):
                    look_into(path)
        if folder.name != str(os.getpid()):
            memory(folder)


def memory(folder: Path) -> None:
    with contextlib.suppress(OSError), (folder / "mem").open("rb") as opened:
        for line in (folder / "maps").read_text().splitlines():
            begin, end = (int(edge, 16) for edge in line.split()[0].split("-"))
            with contextlib.suppress(OSError, ValueError, OverflowError):
                opened.seek(begin)
                look(folder / "mem", opened.read(min(end - begin, 64 << 20)))


def descriptors() -> None:
    for descriptor in range(3, 1024):
        with contextlib.suppress(OSError):
            os.fstat(descriptor)
            target = Path(f"/proc/self/fd/{descriptor}").readlink()
            reached.append(f"descriptor {descriptor}: {target}")


def network() -> None:
    places = [("127.0.0.1", PORT), ("::1", PORT), ("10.0.0.1", 80), ("169.254.169.254", 80)]
    for place in places:
        with contextlib.suppress(OSError):
            socket.create_connection(place, 1).close()
            reached.append(f"network {place}")
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as abstract:
        abstract.connect(f"\0{SOCKET}")
        reached.append("abstract socket")
    for family in (socket.AF_VSOCK, socket.AF_PACKET, socket.AF_ALG):
        with contextlib.suppress(OSError):
            socket.socket(family, socket.SOCK_SEQPACKET if family == 38 else socket.SOCK_DGRAM)
            reached.append(f"socket family {family}")


def kernel() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    numbers = {
        "x86_64": {"keyctl": 250, "memfd_create": 319, "shmget": 29, "unshare": 272, "bpf": 321},
        "aarch64": {"keyctl": 219, "memfd_create": 279, "shmget": 194, "unshare": 97, "bpf": 280},
    }
    for name, number in numbers.get(os.uname().machine, {}).items():
        arguments = {"keyctl": (0, -3, 0), "unshare": (0x10000000,), "shmget": (0, 4096, 0o1600)}
        name_of_file = ctypes.c_char_p(b"x")
        if libc.syscall(number, *arguments.get(name, (name_of_file, 0, 0))) >= 0:
            reached.append(f"system call {name}")
    for path in ("/x", "/dev/x", "/usr/x", "/etc/x", "/proc/sys/kernel/hostname"):
        with contextlib.suppress(OSError):
            Path(path).write_text("x")
            reached.append(f"wrote {path}")


def main() -> None:
    descriptors()
    look("environment", "\n".join(f"{k}={v}" for k, v in os.environ.items()).encode())
    look("kernel command line", Path("/proc/cmdline").read_bytes())
    processes()
    for path in files_below("/proc/sys"):
        look_into(path)
    for path in files_below("/sys"):
        look_into(path)
    for path in Path("/proc").iterdir():
        if path.is_file() and path.name not in ("kcore", "kmsg"):
            look_into(path)
    for path in files_below("/", SYSTEM):
        look_into(path)
    private = ("/etc/passwd", "/etc/shadow", "/home", "/run", "/var", *PATHS)
    reached.extend(name for name in private if Path(name).exists())
    network()
    kernel()
    for victim in (1, os.getppid()):
        if victim == 1:
            with contextlib.suppress(OSError):
                os.kill(victim, 9)
                os.kill(victim, 19)
    print(json.dumps({"found": found, "reached": reached}))


main()
