"""A system call filter that a process puts on itself and all it starts (Linux, x86-64 and ARM64).

Standard library only. The classic BPF program is built here, as seccomp(2) and
``linux/seccomp.h`` describe it; system call numbers are those of the kernel's ``unistd.h``.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket
import struct
from collections.abc import Sequence

LAST_KNOWN = 462
"""The newest system call that was looked at (``mseal``, Linux 6.10); later ones do not exist in here."""

_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""Column of the tables below, and the kernel's AUDIT_ARCH number."""

_REFUSED: dict[str, tuple[int | None, int | None]] = {
    # Looking into, or acting on, other processes.
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    # Parts of the kernel that attacks start from, and that no experiment needs.
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "fanotify_init": (300, 262),
    "fanotify_mark": (301, 263),
    "syslog": (103, 116),
    "lookup_dcookie": (212, 18),
    "personality": (135, 92),
    "modify_ldt": (154, None),
    "uselib": (134, None),
    "_sysctl": (156, None),
    "sysfs": (139, None),
    "ustat": (136, None),
    "nfsservctl": (180, 42),
    "vhangup": (153, 58),
    "seccomp": (317, 277),
    # Namespaces and mounts: a way out, or back to privileges.
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "statmount": (457, 457),
    "listmount": (458, 458),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    # What outlives a process, and so would carry rows from one fold to the next.
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "shmdt": (67, 197),
    "semget": (64, 190),
    "semop": (65, 193),
    "semctl": (66, 191),
    "semtimedop": (220, 192),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    "mq_timedsend": (242, 182),
    "mq_timedreceive": (243, 183),
    "mq_notify": (244, 184),
    "mq_getsetattr": (245, 185),
    # The machine itself.
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "create_module": (174, None),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "iopl": (172, None),
    "ioperm": (173, None),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
}

_MISSING: dict[str, tuple[int | None, int | None]] = {
    # Its flags lie in memory, where no filter sees them; the C library then uses clone.
    "clone3": (435, 435),
    # Memory that counts towards no cap while it is not mapped; callers have another way.
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
}

_OWN_ONLY: dict[str, tuple[tuple[int, int], int]] = {
    # The system calls that reach another process of the same user; the argument that must be 0, oneself.
    "prlimit64": ((302, 261), 0),
    "sched_setscheduler": ((144, 119), 0),
    "sched_setparam": ((142, 118), 0),
    "sched_setattr": ((314, 274), 0),
    "setpriority": ((141, 140), 1),
    "ioprio_set": ((251, 30), 1),
}

_OUTWARD: dict[str, tuple[int | None, int | None]] = {"connect": (42, 203)}

_ATTRIBUTES: dict[str, tuple[int | None, int | None]] = {
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
}

_CLONE, _IOCTL, _PRCTL, _SOCKET, _SOCKETPAIR = (56, 220), (16, 29), (157, 167), (41, 198), (53, 199)
_CLONE_NEW = 0x7E020000
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_PR_SET_DUMPABLE, _PR_SET_SECCOMP = 4, 22
_CONNECTED_TYPES = (socket.SOCK_STREAM, socket.SOCK_SEQPACKET)

# Opcodes of linux/bpf_common.h: load a word of seccomp_data, jump, and, return.
_LOAD, _EQUAL, _GREATER, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x54, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_NUMBER, _ARCH = 0, 4
_SET_MODE_FILTER, _SPEC_ALLOW = 1, 4

Instruction = tuple[int, int, int, int]


def machine() -> str | None:
    """The machine's name where a filter can be built for it, else None."""
    name = platform.machine()
    return name if name in _ARCHITECTURES else None


def build_filter(machine: str, *, network: bool, connect: bool, attributes: bool) -> bytes:
    """The BPF program.

    Args:
        machine: ``x86_64`` or ``aarch64``.
        network: Internet sockets may be made; else sockets of the machine itself alone (AF_UNIX).
        connect: Sockets may be connected to an address. Without, only pairs and inherited ones work: the
            way to the sockets of other programs, whose paths Landlock does not guard, is closed.
        attributes: Modes, owners, times and extended attributes of files may be changed, which Landlock
            does not guard either. Without, such calls do nothing and claim success, since libraries
            copy modes as a matter of course.
    """
    column, arch = _ARCHITECTURES[machine]
    program: list[Instruction] = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, arch),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        # The numbers of x86's x32 calls start at 2**30: they end here too.
        (_GREATER, 0, 1, LAST_KNOWN),
        _refuse(errno.ENOSYS),
    ]
    for table, answer in ((_REFUSED, errno.EPERM), (_MISSING, errno.ENOSYS)):
        program += _answer(table, column, answer)
    if not connect:
        program += _answer(_OUTWARD, column, errno.EPERM)
    if not attributes:
        program += _answer(_ATTRIBUTES, column, 0)
    for numbers, argument in _OWN_ONLY.values():
        program += _when(numbers[column], [_argument(argument), (_EQUAL, 1, 0, 0), _refuse(errno.EPERM)])
    namespaces: list[Instruction] = [_argument(0), (_ANY_BIT, 0, 1, _CLONE_NEW), _refuse(errno.EPERM)]
    program += _when(_CLONE[column], namespaces)
    program += _when(_IOCTL[column], [_argument(1), *_one_of((_TIOCSTI, _TIOCLINUX), errno.EPERM)])
    program += _when(_PRCTL[column], _prctl())
    families = [socket.AF_UNIX, socket.AF_INET, socket.AF_INET6] if network else [socket.AF_UNIX]
    types = () if connect else _CONNECTED_TYPES
    for numbers in (_SOCKET, _SOCKETPAIR):
        program += _when(numbers[column], _sockets(families, types))
    program.append((_RETURN, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def apply_filter(program: bytes) -> None:
    """Put a filter on the calling thread and all that it starts; there is no way back.

    Raises:
        OSError: The kernel refuses.
    """
    buffer = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer)))
    number = _REFUSED["seccomp"][_ARCHITECTURES[platform.machine()][0]]
    library = ctypes.CDLL(None, use_errno=True)
    # Older kernels take a filter as a wish for slow, safe speculation; numerics would pay for it.
    if library.syscall(number, _SET_MODE_FILTER, _SPEC_ALLOW, header) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"seccomp: {os.strerror(code)}")


def _refuse(code: int) -> Instruction:
    return (_RETURN, 0, 0, _ERRNO | code)


def _argument(index: int) -> Instruction:
    """Load the low word of an argument; the ones that are looked at are ints to the kernel."""
    return (_LOAD, 0, 0, 16 + 8 * index)


def _answer(table: dict[str, tuple[int | None, int | None]], column: int, code: int) -> list[Instruction]:
    program: list[Instruction] = []
    for numbers in table.values():
        number = numbers[column]
        if number is not None:
            program += [(_EQUAL, 0, 1, number), _refuse(code)]
    return program


def _when(number: int, body: Sequence[Instruction]) -> list[Instruction]:
    """Run the body for this system call; what it does not refuse is allowed."""
    return [(_EQUAL, 0, len(body) + 1, number), *body, (_RETURN, 0, 0, _ALLOW)]


def _one_of(values: Sequence[int], code: int) -> list[Instruction]:
    return [step for value in values for step in ((_EQUAL, 0, 1, value), _refuse(code))]


def _prctl() -> list[Instruction]:
    """No further filters, and no hiding from the one who counts memory."""
    return [
        _argument(0),
        (_EQUAL, 0, 1, _PR_SET_SECCOMP),
        _refuse(errno.EPERM),
        (_EQUAL, 0, 3, _PR_SET_DUMPABLE),
        _argument(1),
        (_EQUAL, 0, 1, 0),
        _refuse(errno.EPERM),
    ]


def _sockets(families: Sequence[int], types: Sequence[int]) -> list[Instruction]:
    """Only these families and, unless empty, these types."""
    body: list[Instruction] = [_argument(0), *_allowed(families), _refuse(errno.EAFNOSUPPORT)]
    if types:
        body += [_argument(1), (_AND, 0, 0, 0xF), *_allowed(types), _refuse(errno.EPERM)]
    return body


def _allowed(values: Sequence[int]) -> list[Instruction]:
    """Jump over the refusal that follows for each of these values."""
    return [(_EQUAL, len(values) - index, 0, value) for index, value in enumerate(values)]
