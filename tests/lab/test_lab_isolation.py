"""What a hostile script, root in its server, cannot do: attack by attack."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_world import booted, network_of, output_of, server_of, template_of

from engine.clouds.lab import LabOrchestration
from engine.clouds.lab.sandbox import processes
from engine.clouds.ports import Stack

pytestmark = pytest.mark.isolation


@pytest.fixture(scope="module")
def cell(shared_lab: LabOrchestration) -> LabOrchestration:
    resources = network_of(shared_lab, "cell") | server_of("cell", None, "cell", flavor="m1.tiny")
    shared_lab.push(Stack("cell"), template_of(resources), {}, None, {})
    booted(shared_lab, "cell")
    return shared_lab


@pytest.fixture
def secret() -> Iterator[Path]:
    """A file of the host that everybody on the host may read."""
    with tempfile.NamedTemporaryFile("w", prefix="host-secret-", suffix=".txt", delete=False) as stream:
        stream.write("the host's secret")
    path = Path(stream.name)
    path.chmod(0o644)
    yield path
    path.unlink()


def attempt(lab: LabOrchestration, script: str) -> tuple[int, str]:
    done = lab.exec("cell", ["/bin/sh", "-c", script], timeout=20)
    return done.returncode, done.stdout + done.stderr


def test_files_of_the_host_cannot_be_seen(cell, secret) -> None:
    assert attempt(cell, f"cat {secret}")[0] != 0
    assert output_of(cell, "cell", "ls -A /home /tmp /srv /opt /var/log /mnt /media").split() == [
        "/home:", "ubuntu", "/media:", "/mnt:", "/opt:", "/srv:", "/tmp:", "/var/log:",
    ]  # fmt: skip
    shown = output_of(cell, "cell", "find /root -type f | grep -v /lib/python | head -3")
    assert ".ssh" not in shown
    for hidden in (cell.site.directory, Path(__file__).resolve().parents[2] / "docs", Path.cwd()):
        assert attempt(cell, f"ls '{hidden}'")[0] != 0


def test_secrets_of_etc_are_not_the_hosts(cell) -> None:
    shadow = output_of(cell, "cell", "cat /etc/shadow")
    assert "root:*:" in shadow
    assert "$" not in shadow
    assert attempt(cell, "ls /etc/ssh /etc/ssl/private /etc/sudoers /etc/pip.conf /etc/npmrc")[0] != 0
    host = {
        line.split(":")[0] for line in Path("/etc/passwd").read_text().splitlines() if int(line.split(":")[2]) >= 1000
    }
    guests = {line.split(":")[0] for line in output_of(cell, "cell", "cat /etc/passwd").splitlines()}
    assert host & guests <= {"nobody", "ubuntu"}


def test_writes_stay_in_the_server(cell) -> None:
    name = f"chandlery-escape-{os.getpid()}"
    places = ["/usr/bin", "/usr/local/bin", "/etc", "/var/lib", "/tmp", "/opt", "/usr/share"]
    for place in places:
        assert attempt(cell, f"echo x > {place}/{name} && cat {place}/{name}") == (0, "x\n")
        assert not Path(place, name).exists()


def test_programs_of_the_host_can_be_replaced_in_the_server_only(cell) -> None:
    before = Path("/usr/bin/env").stat()
    script = (
        "printf '#!/bin/sh\\necho replaced\\n' > /tmp/env && chmod 755 /tmp/env && mv -f /tmp/env /usr/bin/env && env"
    )
    assert attempt(cell, script) == (0, "replaced\n")
    after = Path("/usr/bin/env").stat()
    assert (before.st_ino, before.st_size, before.st_mtime) == (after.st_ino, after.st_size, after.st_mtime)


def test_processes_of_the_host_can_neither_be_seen_nor_killed(cell) -> None:
    code, _ = attempt(cell, f"kill -9 {os.getpid()} {os.getppid()}")
    assert code != 0
    pids = output_of(cell, "cell", "ls /proc | grep '^[0-9]'").split()
    assert len(pids) < 12
    assert "pytest" not in output_of(cell, "cell", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")


def test_killing_everything_in_the_server_leaves_its_first_process(cell) -> None:
    before = cell.site.process_of(next(server.id for server in cell.servers() if server.name == "cell"))
    attempt(cell, "kill -9 -1; kill -9 1; kill -15 1")
    assert processes.alive(*before)
    assert attempt(cell, "echo lives") == (0, "lives\n")


def test_devices_cannot_be_made_or_reached(cell) -> None:
    code, text = attempt(cell, "mknod /tmp/disk b 8 0 || mknod /tmp/mem c 1 1")
    assert code != 0
    assert "not permitted" in text
    listing = set(output_of(cell, "cell", "ls /dev").split())
    assert listing <= {
        *("fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom", "zero"),
    }


def test_the_hosts_file_systems_cannot_be_mounted(cell) -> None:
    for kind, source in (
        ("ext4", "/dev/vda"),
        ("devtmpfs", "dev"),
        ("debugfs", "d"),
        ("cgroup2", "c"),
        ("tracefs", "t"),
    ):
        code, _ = attempt(
            cell, f"mount -t {kind} {source} /mnt && ls -A /mnt | grep -q . && ls /mnt/sda /mnt/vda /mnt/etc"
        )
        assert code != 0, kind
    for kind in ("proc", "sysfs"):
        assert attempt(cell, f"unshare -n mount -t {kind} x /mnt")[0] != 0, kind


def test_what_the_lab_mounted_cannot_be_taken_away(cell) -> None:
    for place in ("/proc", "/proc/sys/kernel", "/sys", "/usr", "/", "/dev", "/var/lib/cloud/seed", "/proc/kcore"):
        assert attempt(cell, f"umount {place} || umount -l {place}")[0] != 0, place
    assert attempt(cell, "mount -o remount,rw /sys || mount -o remount,rw,bind /proc/sys/kernel")[0] != 0
    assert attempt(cell, "echo x > /var/lib/cloud/seed/boot.json")[0] != 0


def test_the_kernel_cannot_be_configured(cell) -> None:
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    for name in ("kernel/core_pattern", "kernel/modprobe", "vm/drop_caches", "fs/file-max", "kernel/panic"):
        assert attempt(cell, f"echo 1 > /proc/sys/{name}")[0] != 0, name
    assert attempt(cell, "echo b > /proc/sysrq-trigger; test -s /proc/sysrq-trigger")[0] != 0
    assert attempt(cell, "date -s 2001-01-01")[0] != 0
    assert attempt(cell, "dmesg")[0] != 0
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before
    assert output_of(cell, "cell", "cat /proc/cmdline /proc/kallsyms /proc/keys") == ""


def test_the_host_name_of_the_machine_is_out_of_reach(cell) -> None:
    before = os.uname().nodename
    assert attempt(cell, "hostname pwned && hostname") == (0, "pwned\n")
    assert os.uname().nodename == before
    attempt(cell, "hostname cell")


def test_risky_system_calls_are_refused(cell) -> None:
    script = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
import platform
numbers = {"x86_64": [101, 321, 250, 248, 298, 323, 425, 304, 175, 169, 310],
           "aarch64": [117, 280, 219, 217, 241, 282, 425, 265, 105, 142, 270]}[platform.machine()]
print(all(libc.syscall(number, 0, 0, 0, 0, 0) == -1 and ctypes.get_errno() == 1 for number in numbers))
"""
    done = cell.exec("cell", ["python3", "-"], text=script)
    assert done.stdout == "True\n", done.stderr


def test_capabilities_are_few_and_set_user_id_programs_give_nothing(cell) -> None:
    status = output_of(cell, "cell", "cat /proc/self/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["NoNewPrivs"] == "1"
    assert fields["Seccomp"] == "2"
    capabilities = int(fields["CapBnd"], 16)
    assert int(fields["CapEff"], 16) == capabilities
    for number in (16, 17, 19, 22, 25, 27, 34, 39):  # modules, raw i/o, ptrace, boot, time, mknod, syslog, bpf
        assert not capabilities >> number & 1, number


def test_root_of_the_server_is_nobody_important_on_the_host(cell) -> None:
    pid, _ = cell.site.process_of(next(server.id for server in cell.servers() if server.name == "cell"))
    owner = os.stat(f"/proc/{pid}").st_uid
    assert owner == (os.geteuid() or owner)
    assert owner != 0


def test_links_in_the_server_do_not_lead_out_of_it(cell, secret) -> None:
    assert attempt(cell, f"ln -sf {secret} /tmp/link && cat /tmp/link")[0] != 0
    assert attempt(cell, f"cat /proc/1/root{secret} || cat /proc/self/root/../..{secret}")[0] != 0
    assert attempt(cell, "mkdir -p /tmp/jail && chroot /tmp/jail /bin/true")[0] != 0
    python = "import os; os.chdir('/'); [os.chdir('..') for _ in range(64)]; print(sorted(os.listdir('.'))[:3])"
    listed = cell.exec("cell", ["python3", "-c", python]).stdout
    assert listed == "['bin', 'boot', 'dev']\n"


def test_a_command_in_the_server_holds_nothing_of_the_host(cell) -> None:
    assert output_of(cell, "cell", "ls /proc/self/fd").split() == ["0", "1", "2", "3"]  # 3 is the listing itself
    pipes = output_of(cell, "cell", "readlink /proc/self/fd/0 /proc/self/fd/1 /proc/self/cwd").split()
    assert [pipe.split(":")[0] for pipe in pipes] == ["pipe", "pipe", "/root"]
    environment = output_of(cell, "cell", "cat /proc/1/environ; env")
    assert not any(key in environment for key in ("PYTEST", "VIRTUAL_ENV", "SSH_", "OS_", "TOKEN"))
    assert output_of(cell, "cell", "ls -l /proc/1/fd | grep -c -e keeper -e host-secret").strip() == "0"


def test_processes_cannot_be_traced(cell) -> None:
    tracing = "import ctypes; libc = ctypes.CDLL(None); print(libc.ptrace(16, 1, 0, 0), libc.ptrace(0, 0, 0, 0))"
    assert cell.exec("cell", ["python3", "-c", tracing]).stdout == "-1 -1\n"


def test_nothing_but_the_lab_is_reachable(cell) -> None:
    for target in ("192.0.2.1", "8.8.8.8", "169.254.169.254", cell.site.range.host):
        code, _ = attempt(cell, f"curl -sS -m 0.4 http://{target}/")
        assert code != 0, target
    routes = output_of(cell, "cell", "ip route")
    assert routes.startswith("default via ")


def test_a_fork_bomb_stops_at_the_limit(cell) -> None:
    script = (
        "import resource; print(resource.getrlimit(resource.RLIMIT_NPROC), resource.getrlimit(resource.RLIMIT_CORE))"
    )
    assert cell.exec("cell", ["python3", "-c", script]).stdout == "(2048, 2048) (1, 1)\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="control groups need root")
def test_memory_of_a_server_is_limited_by_its_flavor(cell) -> None:
    script = "b = []\nwhile True: b.append(b'x' * (32 * 1024 * 1024))"
    if "memory of the server is not limited" in cell.console("cell"):
        pytest.skip("this machine has no memory control group")
    assert cell.exec("cell", ["python3", "-c", script], timeout=60).returncode == 137
    assert attempt(cell, "echo lives") == (0, "lives\n")
