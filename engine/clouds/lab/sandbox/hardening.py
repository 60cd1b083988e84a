"""What every process of a server gives up before it runs anything: capabilities, new privileges, risky system calls."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct

from engine.clouds.lab.sandbox import syscalls

# Capabilities (numbers of linux/capability.h) a server keeps, all of them inside its own user namespace only.
KEPT_CAPABILITIES = {
    0: "CHOWN", 1: "DAC_OVERRIDE", 2: "DAC_READ_SEARCH", 3: "FOWNER", 4: "FSETID", 5: "KILL", 6: "SETGID", 7: "SETUID",
    8: "SETPCAP", 10: "NET_BIND_SERVICE", 12: "NET_ADMIN", 13: "NET_RAW", 18: "SYS_CHROOT", 21: "SYS_ADMIN",
    23: "SYS_NICE", 29: "AUDIT_WRITE", 31: "SETFCAP",
}  # fmt: skip
_LAST_CAPABILITY = 63

# System calls that answer EPERM: ways into the kernel that no package script needs and that have a history of holes.
# name: (x86_64, aarch64); None where the architecture has no such call.
DENIED_SYSCALLS: dict[str, tuple[int | None, int]] = {
    "acct": (163, 89), "add_key": (248, 217), "bpf": (321, 280), "clock_adjtime": (305, 266),
    "clock_settime": (227, 112), "delete_module": (176, 106), "finit_module": (313, 273), "fsconfig": (431, 431),
    "fsopen": (430, 430), "fspick": (433, 433), "init_module": (175, 105), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427), "io_uring_setup": (425, 425), "ioperm": (173, -1), "iopl": (172, -1),
    "kcmp": (312, 272), "kexec_file_load": (320, 294), "kexec_load": (246, 104), "keyctl": (250, 219),
    "lookup_dcookie": (212, 18), "move_pages": (279, 239), "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265), "perf_event_open": (298, 241), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "ptrace": (101, 117), "quotactl": (179, 60), "reboot": (169, 142),
    "request_key": (249, 218), "settimeofday": (164, 170), "swapoff": (168, 225), "swapon": (167, 224),
    "syslog": (103, 116), "userfaultfd": (323, 282), "vhangup": (153, 58),
}  # fmt: skip
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}


def harden(limits: dict[str, int]) -> list[str]:
    """Restrict the calling process for good; gives sentences about what this machine cannot restrict."""
    for name, value in limits.items():
        _limit(getattr(resource, name), value)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.umask(0o022)
    for number in range(_LAST_CAPABILITY + 1):
        if number not in KEPT_CAPABILITIES:
            syscalls.drop_bounding_capability(number)
    syscalls.set_no_new_privileges()
    return _deny_system_calls()


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    ceiling = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (ceiling, ceiling))


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def _deny_system_calls() -> list[str]:
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        return [f"system calls are not filtered on {machine}"]
    column, audit = _ARCHITECTURES[machine]
    numbers = sorted(calls[column] for calls in DENIED_SYSCALLS.values() if (calls[column] or -1) >= 0)  # type: ignore[type-var]
    allow, refuse, kill = 0x7FFF0000, 0x00050000 | 1, 0x80000000
    program = [
        (0x20, 0, 0, 4),  # load the architecture
        (0x15, 1, 0, audit),
        (0x06, 0, 0, kill),  # calls of another architecture (i386 on x86_64) would pass under other numbers
        (0x20, 0, 0, 0),  # load the number
    ]
    if machine == "x86_64":
        program += [(0x35, 0, 1, 0x40000000), (0x06, 0, 0, refuse)]  # the x32 numbers
    for number in numbers:
        program += [(0x15, 0, 1, number or 0), (0x06, 0, 0, refuse)]
    program.append((0x06, 0, 0, allow))
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    try:
        syscalls.set_seccomp_filter(_Program(len(program), ctypes.cast(buffer, ctypes.c_void_p)))
    except OSError as error:
        return [f"system calls are not filtered: {error.strerror}"]
    return []
