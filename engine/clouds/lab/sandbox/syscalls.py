"""The few Linux system calls that Python 3.11 lacks, each raising OSError with what it was asked."""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_MOVE = 8192
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2

_PR_SET_CHILD_SUBREAPER = 36
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_PR_SET_DUMPABLE = 4

# The same numbers on every architecture that Linux has had since 5.2 (alpha aside).
_SYS_OPEN_TREE = 428
_SYS_MOVE_MOUNT = 429
_AT_FDCWD = -100
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH = 4

_libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    """Move this process into new namespaces."""
    _check(_libc.unshare(ctypes.c_int(flags)), f"unshare({flags:#x})")


def setns(descriptor: int, kind: int = 0) -> None:
    """Join the namespace behind an open /proc/<pid>/ns/* file."""
    _check(_libc.setns(ctypes.c_int(descriptor), ctypes.c_int(kind)), f"setns({kind:#x})")


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2)."""
    result = _libc.mount(
        source.encode(), os.fsencode(target), kind.encode() or None, ctypes.c_ulong(flags), options.encode() or None
    )
    _check(result, f"mount {kind or 'bind'} {source} on {target} ({options or hex(flags)})")


def bind(source: str, target: str, read_only: bool = False, flags: int = 0) -> None:
    """Show a file or folder (with what is mounted below it) at another place; read-only covers the top mount."""
    mount(source, target, "", MS_BIND | MS_REC)
    if read_only or flags:
        kept = _kept_flags(target)
        mount("none", target, "", MS_REMOUNT | MS_BIND | flags | kept | (MS_RDONLY if read_only else 0))


def unmount(target: str) -> None:
    """Detach a mount, busy or not."""
    _check(_libc.umount2(os.fsencode(target), MNT_DETACH), f"umount {target}")


def clone_tree(source: str) -> int:
    """A detached copy of the mount of a folder, to be attached in another mount namespace."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC
    descriptor = int(_libc.syscall(_SYS_OPEN_TREE, _AT_FDCWD, os.fsencode(source), ctypes.c_uint(flags)))
    _check(descriptor, f"open_tree {source}")
    return descriptor


def attach_tree(descriptor: int, target: str) -> None:
    """Mount what clone_tree gave on a folder of the caller's mount namespace."""
    result = _libc.syscall(_SYS_MOVE_MOUNT, descriptor, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH)
    _check(int(result), f"move_mount on {target}")


def pivot_root(new_root: str, put_old: str) -> None:
    """Make a mount the root; the old root hangs below `put_old`."""
    _check(_libc.pivot_root(os.fsencode(new_root), os.fsencode(put_old)), f"pivot_root {new_root}")


def set_hostname(name: str) -> None:
    """Name this UTS namespace."""
    encoded = name.encode()
    _check(_libc.sethostname(encoded, len(encoded)), f"sethostname {name}")


def become_subreaper() -> None:
    """Orphaned descendants become children of this process instead of the host's init."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def drop_bounding_capability(number: int) -> bool:
    """Give up a capability for ever; False when the kernel has no such capability."""
    return int(_libc.prctl(_PR_CAPBSET_DROP, ctypes.c_ulong(number), 0, 0, 0)) == 0


def set_no_new_privileges() -> None:
    """Set-user-id programs and file capabilities no longer give anything, to this process and all it starts."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def set_seccomp_filter(program: ctypes.Structure) -> None:
    """Install a BPF filter over system calls (needs no_new_privs or CAP_SYS_ADMIN)."""
    result = _libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(2), ctypes.byref(program), 0, 0)
    _check(result, "prctl(PR_SET_SECCOMP)")


def set_dumpable(dumpable: bool) -> None:
    """Whether /proc/<pid> of this process belongs to its user (needed after a change of user to write id maps)."""
    _prctl(_PR_SET_DUMPABLE, int(dumpable))


def _kept_flags(target: str) -> int:
    """Flags of a bind's source that a remount in a user namespace must repeat (they are locked)."""
    flags = os.statvfs(target).f_flag
    return flags & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | 1024 | 2048 | (1 << 21))


def _prctl(option: int, value: int) -> None:
    _check(_libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0), f"prctl({option})")


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
