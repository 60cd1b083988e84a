"""A server's file tree: which parts of the host it shows (copy on write), and what is made afresh.

Allowed is listed, all else is absent: the host's system folders, a few harmless names of /etc, the image tree, and the
interpreter. /root, /home, /tmp, /var, /srv, /opt, /run and the data directory of the service are never visible.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
from dataclasses import asdict, dataclass
from pathlib import Path

from engine.clouds.lab.sandbox import syscalls

# Top-level folders of the host that hold programs. On a merged-usr host all but the first are links.
SYSTEM_FOLDERS = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32")

# Names of /etc that programs need to start and that hold no secret; only world-readable files below them are taken.
SHOWN_ETC = (
    *("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "ld-musl-x86_64.path", "ld-musl-aarch64.path"),
    *("ca-certificates", "ca-certificates.conf", "pki", "crypto-policies", "localtime", "timezone", "adjtime"),
    *("services", "protocols", "rpc", "networks", "ethertypes", "mime.types", "magic", "magic.mime", "host.conf"),
    *("gai.conf", "profile", "bash.bashrc", "bashrc", "skel", "inputrc", "terminfo", "locale.alias"),
    *("locale.conf", "login.defs", "pam.d", "pam.conf", "shells", "debian_version", "os-release"),
    *("lsb-release", "redhat-release", "alpine-release", "issue", "fonts", "iproute2", "python3", "python3.11"),
    *("python3.12", "python3.13", "perl", "dpkg", "java-11-openjdk", "java-17-openjdk", "java-21-openjdk", "magic"),
)
SHOWN_ETC_SSL = ("certs/ca-certificates.crt", "openssl.cnf")  # never ssl/private

# Folders of the server's own, with their modes.
FRESH_FOLDERS = {
    "boot": 0o755, "dev": 0o755, "etc": 0o755, "home": 0o755, "media": 0o755, "mnt": 0o755, "opt": 0o755,
    "proc": 0o555, "root": 0o700, "run": 0o755, "srv": 0o755, "sys": 0o555, "tmp": 0o1777, "var": 0o755,
    "var/cache": 0o755, "var/lib": 0o755, "var/lib/cloud": 0o755, "var/lib/cloud/seed": 0o755,
    "var/lib/cloud/instance": 0o755, "var/local": 0o755, "var/log": 0o755, "var/mail": 0o755, "var/opt": 0o755,
    "var/spool": 0o755, "var/tmp": 0o1777, "home/ubuntu": 0o755,
}  # fmt: skip
LINKS = {"var/run": "/run", "var/lock": "/run/lock", "etc/mtab": "/proc/self/mounts"}

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
# Of /proc: facts of the host that no server needs. Files are covered by /dev/null, folders by an empty tree.
MASKED_PROC = ("kcore", "keys", "key-users", "kallsyms", "kmsg", "timer_list", "sched_debug", "sysrq-trigger",
               "cmdline", "config.gz", "vmallocinfo", "slabinfo", "modules", "acpi", "scsi", "fs", "bus", "irq",
               "driver", "pressure", "tty", "asound")  # fmt: skip
READ_ONLY_PROC = ("sys/kernel", "sys/vm", "sys/fs", "sys/dev", "sys/debug", "sys/abi")

# Depth to which folders of /usr belong to the server's root, so that it can add and replace files there. The rest of
# the tree stays the host's: readable, and unmapped ("nobody") in the server's user namespace.
SKELETON_DEPTH = 2
SKELETON_ALSO = ("lib/systemd/system", "lib/systemd/user")


@dataclass(frozen=True)
class Base:
    """A prepared lower tree (below the lab's directory), shared by all servers."""

    path: str
    system: tuple[str, ...]  # folders of the host shown through an overlay each
    python: str  # the interpreter inside
    binds: tuple[str, ...]  # files and folders of the host shown read-only at the same path

    def to_json(self) -> dict:
        """For the launch specification."""
        return asdict(self)


def build_base(target: Path, image: Path, interpreter: str, prefix: str, owner: int) -> Base:
    """Prepare the lower tree in `target` (made anew); `owner` is the host's id of the servers' root."""
    root = target / "root"
    root.mkdir(parents=True)
    system: list[str] = []
    for name in SYSTEM_FOLDERS:
        host = Path("/", name)
        if host.is_symlink():
            (root / name).symlink_to(os.readlink(host))
        elif host.is_dir():
            (root / name).mkdir()
            skeleton = target / "system" / name
            _copy_skeleton(host, skeleton, SKELETON_DEPTH)
            for folder in SKELETON_ALSO:
                if (host / folder).is_dir():
                    (skeleton / folder).mkdir(parents=True, exist_ok=True)
            system.append(name)
    for name, mode in FRESH_FOLDERS.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name).chmod(mode)
    for name, destination in LINKS.items():
        (root / name).symlink_to(destination)
    _copy_etc(root / "etc")
    _lay_image(image, target)
    _lay_file(Path(__file__).with_name("init.py"), target / "system/usr/lib/chandlery/init.py")
    binds = _interpreter_parts(interpreter, prefix, system)
    for path in binds:
        place = root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch() if os.path.isfile(path) else place.mkdir(exist_ok=True)
    if binds or not Path("/usr/bin/python3").exists():
        link = target / "system/usr/local/bin/python3"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(interpreter)
    _own(target, owner)
    return Base(str(target), tuple(system), interpreter, binds)


def compose(base: Base, server: Path, owner: int, real_root: bool) -> list[str]:
    """Mount the tree of a server on `<server>/root` in the calling process's mount namespace and make it the root.

    Gives sentences about what could not be had. `real_root`: overlays keep their notes where servers cannot.
    """
    notes: list[str] = []
    stage = server / "root"
    extra = "" if real_root else ",userxattr"
    syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
    # Relative names: a colon or comma in the data directory's path would end an overlay option.
    os.chdir(os.path.commonpath([base.path, server]))
    lower, upper = os.path.relpath(base.path), os.path.relpath(server)
    if not _overlay(f"{lower}/root", f"{upper}/upper/root", f"{upper}/work/root", str(stage), extra):
        notes.append("the data directory's file system cannot hold overlays: changes of the tree live in memory only")
        syscalls.mount("tmpfs", str(stage), "tmpfs", syscalls.MS_NODEV, f"mode=755,uid={owner},gid={owner}")
        volatile = f"{stage}/volatile"
        for name in ("root", *base.system):
            os.makedirs(f"{volatile}/upper/{name}")
            os.makedirs(f"{volatile}/work/{name}")
        _own(Path(volatile), owner)
        os.mkdir(f"{stage}/root")
        upper, stage = volatile, Path(f"{stage}/root")
        if not _overlay(f"{lower}/root", f"{upper}/upper/root", f"{upper}/work/root", str(stage), extra):
            raise OSError("this kernel cannot mount an overlay for servers (tried the data directory and memory)")
    for name in (*base.system, "dev", "proc", "run", "sys", "var/lib/cloud/seed"):
        _real_folder(stage, name, owner)
    for name in base.system:
        lowers = f"{lower}/system/{name}:/{name}"
        if not _overlay(lowers, f"{upper}/upper/{name}", f"{upper}/work/{name}", f"{stage}/{name}", extra):
            syscalls.bind(f"/{name}", f"{stage}/{name}", read_only=True)
            notes.append(f"/{name} of the host cannot be copied on write (something is mounted below it): read-only")
    for path in base.binds:
        _real_folder(stage, os.path.dirname(path).lstrip("/"), owner)
        if os.path.isfile(path):
            _real_file(f"{stage}{path}")
        else:
            _real_folder(stage, path.lstrip("/"), owner)
        syscalls.bind(path, f"{stage}{path}", read_only=True)
    syscalls.bind(f"{server}/seed", f"{stage}/var/lib/cloud/seed", read_only=True)
    _mount_devices(stage, owner)
    _mount_proc(stage)
    os.chdir(stage)
    syscalls.pivot_root(".", ".")
    syscalls.unmount(".")
    os.chdir("/")
    return notes


def _real_folder(stage: Path, name: str, owner: int) -> None:
    """Have a folder of the tree to mount on, reached without links.

    The tree may be what a hostile server left behind, and here its links would still lead into the host's tree.
    """
    place = str(stage)
    for part in name.split("/"):
        place = f"{place}/{part}"
        if os.path.islink(place) or (os.path.exists(place) and not os.path.isdir(place)):
            os.unlink(place)
        if not os.path.isdir(place):
            os.mkdir(place)
            os.chown(place, owner, owner)


def _real_file(place: str) -> None:
    """Have a file to mount on, no link. Its folder is real already."""
    if os.path.islink(place):
        os.unlink(place)
    if not os.path.exists(place):
        os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))


def _overlay(lowers: str, upper: str, work: str, target: str, extra: str) -> bool:
    try:
        options = f"lowerdir={lowers},upperdir={upper},workdir={work}{extra}"
        syscalls.mount("overlay", target, "overlay", syscalls.MS_NODEV, options)
    except OSError:
        return False
    return True


def _mount_devices(stage: Path, owner: int) -> None:
    quiet = syscalls.MS_NOSUID | syscalls.MS_NOEXEC
    identity = f"uid={owner},gid={owner}"
    syscalls.mount("tmpfs", f"{stage}/dev", "tmpfs", quiet, f"mode=755,size=64k,{identity}")
    for name in DEVICES:
        Path(stage, "dev", name).touch()
        syscalls.bind(f"/dev/{name}", f"{stage}/dev/{name}")
    for name, destination in {
        "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1",
        "stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx",
    }.items():  # fmt: skip
        os.symlink(destination, f"{stage}/dev/{name}")
    os.mkdir(f"{stage}/dev/pts")
    os.mkdir(f"{stage}/dev/shm")  # noqa: S108 - the server's own
    syscalls.mount("devpts", f"{stage}/dev/pts", "devpts", quiet, "newinstance,ptmxmode=0666,mode=0620")
    memory = syscalls.MS_NOSUID | syscalls.MS_NODEV
    syscalls.mount("tmpfs", f"{stage}/dev/shm", "tmpfs", memory, f"mode=1777,size=256m,{identity}")  # noqa: S108
    syscalls.mount("tmpfs", f"{stage}/run", "tmpfs", memory, f"mode=755,size=64m,{identity}")
    os.mkdir(f"{stage}/run/lock")
    os.chown(f"{stage}/run/lock", owner, owner)
    syscalls.mount("tmpfs", f"{stage}/sys", "tmpfs", memory | quiet | syscalls.MS_RDONLY, "mode=555,size=4k")


def _mount_proc(stage: Path) -> None:
    proc = f"{stage}/proc"
    syscalls.mount("proc", proc, "proc", syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC)
    for name in MASKED_PROC:
        path = f"{proc}/{name}"
        if os.path.isdir(path):
            syscalls.mount("tmpfs", path, "tmpfs", syscalls.MS_RDONLY, "size=4k,mode=555")
        elif os.path.exists(path):
            syscalls.bind("/dev/null", path)
    for name in READ_ONLY_PROC:
        if os.path.isdir(f"{proc}/{name}"):
            syscalls.bind(f"{proc}/{name}", f"{proc}/{name}", read_only=True)


def _copy_skeleton(source: Path, target: Path, depth: int) -> None:
    target.mkdir(parents=True, exist_ok=True)
    target.chmod(0o755)
    if depth == 0:
        return
    try:
        entries = list(os.scandir(source))
    except PermissionError:
        return  # what the service may not read, a server need not change
    for entry in entries:
        if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".wh."):
            _copy_skeleton(Path(entry.path), target / entry.name, depth if entry.name == "local" else depth - 1)


def _copy_etc(target: Path) -> None:
    for name in SHOWN_ETC:
        _copy_readable(Path("/etc", name), target / name)
    (target / "ssl/certs").mkdir(parents=True, exist_ok=True)
    for name in SHOWN_ETC_SSL:
        _copy_readable(Path("/etc/ssl", name), target / "ssl" / name)
    users = [user for user in pwd.getpwall() if user.pw_uid < 1000 and user.pw_uid != 0]
    lines = ["root:x:0:0:root:/root:/bin/bash" if os.path.exists("/bin/bash") else "root:x:0:0:root:/root:/bin/sh"]
    lines += [f"{u.pw_name}:x:{u.pw_uid}:{u.pw_gid}:{u.pw_name}:{u.pw_dir}:{u.pw_shell}" for u in users]
    lines.append("ubuntu:x:1000:1000:cloud user:/home/ubuntu:/bin/sh")
    lines.append("nobody:x:65534:65534:nobody:/nonexistent:/bin/false")
    (target / "passwd").write_text("\n".join(lines) + "\n")
    names = [line.split(":", 1)[0] for line in lines]
    _write(target / "shadow", "".join(f"{name}:*:19000:0:99999:7:::\n" for name in names), 0o640)
    groups = [line for line in Path("/etc/group").read_text().splitlines() if _system_group(line)]
    groups = [":".join([*line.split(":")[:3], ""]) for line in groups]
    (target / "group").write_text("\n".join(["root:x:0:", *groups, "ubuntu:x:1000:", "nogroup:x:65534:"]) + "\n")
    (target / "nsswitch.conf").write_text("passwd: files\ngroup: files\nshadow: files\nhosts: files\nservices: files\n")
    (target / "resolv.conf").write_text("# A lab server has no name service.\n")
    (target / "fstab").write_text("")
    (target / "environment").write_text('PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"\n')
    (target / "motd").write_text(MOTD)


MOTD = (
    "This is a simulated server of a Chandlery lab: a sandbox on the service's own machine, with its kernel.\n"
    "Scripts run for real in its own file tree, processes and network; no hypervisor, no way to the internet.\n"
)


def _system_group(line: str) -> bool:
    fields = line.split(":")
    return len(fields) >= 3 and fields[2].isdigit() and 0 < int(fields[2]) < 1000


def _copy_readable(source: Path, target: Path) -> None:
    """Copy what every user of the host may read; links stay links."""
    try:
        status = source.lstat()
    except OSError:
        return
    if stat.S_ISLNK(status.st_mode):
        if "/man/" in os.readlink(source):
            return  # most of /etc/alternatives, and nobody reads manuals in a server
        target.unlink(missing_ok=True)
        target.symlink_to(os.readlink(source))
    elif stat.S_ISDIR(status.st_mode) and status.st_mode & 0o005 == 0o005:
        target.mkdir(exist_ok=True)
        for name in os.listdir(source):
            _copy_readable(source / name, target / name)
    elif stat.S_ISREG(status.st_mode) and status.st_mode & 0o004:
        shutil.copyfile(source, target)
        target.chmod(stat.S_IMODE(status.st_mode) & 0o755)


def _lay_image(image: Path, target: Path) -> None:
    """Copy the image tree: usr into the overlay of /usr, everything else into the root."""
    if not image.is_dir():
        return
    for folder, folders, files in os.walk(image):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in files:
            source = Path(folder, name)
            inside = source.relative_to(image)
            if inside.name == "__init__.py" and len(inside.parts) == 1:
                continue  # makes the tree a package for installation, is no part of a server
            top = "system" if inside.parts[0] == "usr" else "root"
            _lay_file(source, target / top / inside)


def _lay_file(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink():
        target.unlink(missing_ok=True)
        target.symlink_to(os.readlink(source))
        return
    shutil.copyfile(source, target)
    with source.open("rb") as stream:
        script = stream.read(2) == b"#!"
    target.chmod(0o755 if script or os.access(source, os.X_OK) else 0o644)


def _interpreter_parts(interpreter: str, prefix: str, system: list[str]) -> tuple[str, ...]:
    """What to show so that the interpreter works inside, and no more: its prefix may be somebody's home."""
    if interpreter.split("/")[1] in system:
        return ()
    return (interpreter, *(f"{prefix}/{name}" for name in ("lib", "lib64") if os.path.isdir(f"{prefix}/{name}")))


def _own(tree: Path, owner: int) -> None:
    for folder, folders, files in os.walk(tree):
        os.chown(folder, owner, owner)
        for name in files:
            os.chown(os.path.join(folder, name), owner, owner, follow_symlinks=False)
        for name in folders:
            if os.path.islink(os.path.join(folder, name)):
                os.chown(os.path.join(folder, name), owner, owner, follow_symlinks=False)


def _write(path: Path, text: str, mode: int) -> None:
    path.write_text(text)
    path.chmod(mode)
