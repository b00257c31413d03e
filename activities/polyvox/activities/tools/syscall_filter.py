"""The system calls that sandboxed code must not make, as a seccomp program for bubblewrap.

Calls are rejected that allocate memory outside the limits (memfd, System V memory and queues),
reach objects that namespaces do not isolate (kernel keyrings, vsock, BPF, performance counters),
make new namespaces or mounts, or bypass this filter (io_uring, the 32-bit call tables). Everything
else is allowed.

Numbers: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h of Linux.
"""

import errno
import platform
import struct

# Name: (x86_64, generic table of aarch64 and riscv64). clone3 comes first: its flags are in memory,
# which a filter cannot read, so libc must fall back to clone.
_REFUSED: dict[str, tuple[int, int]] = {
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "semget": (64, 190),
    "msgget": (68, 186),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "syslog": (103, 116),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsmount": (432, 432),
    "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265),
    "kexec_load": (246, 104),
}
_CLONE = (56, 220)
_CLONE3 = (435, 435)
_SOCKET = (41, 198)
_AUDIT = {
    "x86_64": (0xC000003E, 0),
    "aarch64": (0xC00000B7, 1),
    "riscv64": (0xC00000F3, 1),
}
"""The kernel's constant of the architecture, and its column in the table above."""

_NEW_NAMESPACES = 0x7E020080
_FAMILIES = (1, 2, 10, 16)
"""AF_UNIX, AF_INET, AF_INET6, AF_NETLINK: those that a network namespace isolates."""
_X32 = 0x40000000

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_ALLOW, _KILL, _ERROR = 0x7FFF0000, 0x80000000, 0x00050000


def syscall_filter() -> bytes | None:
    """Return the program for this machine, None if its call table is unknown."""
    known = _AUDIT.get(platform.machine())
    if known is None:
        return None
    audit, column = known
    rules = [
        _step(_LOAD, _ARCHITECTURE),
        _step(_EQUAL, audit, 1, 0),
        _step(_RETURN, _KILL),
        _step(_LOAD, _NUMBER),
        *_refuse(_AT_LEAST, _X32, errno.ENOSYS),
        *_refuse(_EQUAL, _CLONE3[column], errno.ENOSYS),
    ]
    for numbers in _REFUSED.values():
        rules += _refuse(_EQUAL, numbers[column], errno.EPERM)
    rules += [
        _step(_EQUAL, _CLONE[column], 0, 4),
        _step(_LOAD, _FIRST_ARGUMENT),
        *_refuse(_ANY_BIT, _NEW_NAMESPACES, errno.EPERM),
        _step(_RETURN, _ALLOW),
        _step(_EQUAL, _SOCKET[column], 0, len(_FAMILIES) + 2),
        _step(_LOAD, _FIRST_ARGUMENT),
    ]
    for at, family in enumerate(_FAMILIES):
        rules.append(_step(_EQUAL, family, len(_FAMILIES) - at, 0))
    rules += [_step(_RETURN, _ERROR | errno.EAFNOSUPPORT), _step(_RETURN, _ALLOW)]
    return b"".join(rules)


def _refuse(test: int, value: int, error: int) -> list[bytes]:
    return [_step(test, value, 0, 1), _step(_RETURN, _ERROR | error)]


def _step(code: int, value: int, when_true: int = 0, when_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, when_true, when_false, value)
