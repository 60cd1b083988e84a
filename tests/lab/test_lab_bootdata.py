"""Boot data becomes steps in cloud-init's order; what a lab server cannot do becomes a line, not silence."""

from __future__ import annotations

import base64
import gzip
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from typing import Any

import pytest
from lab_world import booted, network_of, output_of, server_of

from engine.clouds.lab import bootdata


def kinds(user_data: str | bytes | None) -> list[tuple[str, str]]:
    steps, _ = bootdata.plan(user_data)
    return [(step["kind"], step.get("name") or step.get("path") or step.get("text") or " ".join(step["argv"]))
            for step in steps]  # fmt: skip


def content(step: dict[str, Any]) -> str:
    return base64.b64decode(step["content"]).decode()


def test_nothing_is_no_step() -> None:
    assert bootdata.plan(None) == ([], None)
    assert bootdata.plan(" \n") == ([], None)


def test_a_script_is_one_step() -> None:
    (step,), _ = bootdata.plan("#!/bin/sh\necho hi\n")
    assert step["kind"] == "script"
    assert content(step) == "#!/bin/sh\necho hi\n"


def test_the_order_is_cloud_inits() -> None:
    data = """#cloud-config
runcmd: [[echo, "two words"], echo $HOME]
write_files:
- {path: /etc/late, content: late, defer: true}
- {path: /etc/early, content: early}
bootcmd: [echo boot, [echo, argv]]
hostname: web.example.org
packages: [git, [nginx, "1.0"]]
growpart: {mode: auto}
"""
    steps, hostname = bootdata.plan(data)
    assert hostname == "web"
    assert kinds(data) == [
        ("note", "packages not installed (no package source, but the host's programs are there): git, nginx 1.0"),
        ("note", "cloud-config key 'growpart' is not carried out by a lab server"),
        ("run", "/bin/sh -c echo boot"),
        ("run", "echo argv"),
        ("write", "/etc/early"),
        ("script", "runcmd"),
        ("write", "/etc/late"),
    ]
    assert content(steps[5]) == "#!/bin/sh\necho 'two words'\necho $HOME\n"


def test_parts_of_a_multipart_message_are_told_apart_by_type_or_by_their_first_line() -> None:
    message = MIMEMultipart()
    message.attach(MIMEText("runcmd: [last]", "cloud-config"))
    message.attach(MIMEText("#!/bin/sh\ntrue", "plain"))
    inner = MIMEMultipart()
    script = MIMEText("#!/bin/sh\nagent", "x-shellscript")
    script.add_header("Content-Disposition", "attachment", filename="../agent.sh")
    inner.attach(script)
    inner.attach(MIMEText("#include http://example.org/", "x-include-url"))
    message.attach(inner)
    assert kinds(message.as_string()) == [
        ("note", "boot data part text/x-include-url: a lab server carries out no parts of kind text/x-include-url"),
        ("script", ".._agent.sh"),
        ("script", "part-001"),
        ("script", "runcmd"),
    ]


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("b64", base64.b64encode(b"secret").decode()),
        ("gz+b64", base64.b64encode(gzip.compress(b"secret", mtime=0)).decode()),
        ("text/plain", "secret"),
    ],
)
def test_files_are_decoded_and_have_their_mode(encoding: str, text: str) -> None:
    entry = f"{{path: /etc/key, encoding: {encoding}, content: '{text}', permissions: '0600', owner: 'root:root'}}"
    (step,), _ = bootdata.plan(f"#cloud-config\nwrite_files: [{entry}]")
    assert content(step) == "secret"
    assert (step["mode"], step["owner"]) == (0o600, "root:root")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("#cloud-config\nruncmd: [", "cloud-config is not YAML"),
        ("#cloud-config\n- a", "expected a map, found list"),
        ("#cloud-config\nruncmd: echo", "runcmd: expected a list, found str"),
        ("#cloud-config\nwrite_files: [{path: relative}]", "expected a map with an absolute `path`"),
        ("#cloud-config\nwrite_files: [{path: /a, encoding: rot13, content: x}]", "unknown encoding 'rot13'"),
        ("#cloud-config\nwrite_files: [{path: /a, encoding: gz+b64, content: '!!'}]", "write_files /a:"),
        ("#cloud-config\nwrite_files: [{path: /a, permissions: 'rw'}]", "write_files /a: invalid literal"),
        ("just text", "carries out no parts of kind"),
    ],
)
def test_what_cannot_be_read_is_a_line_on_the_console(data: str, told: str) -> None:
    ((kind, text),) = kinds(data)
    assert kind == "note"
    assert told in text


def test_a_bomb_is_not_unpacked() -> None:
    bomb = base64.b64encode(gzip.compress(b"\0" * (bootdata.MAX_DECOMPRESSED + 1))).decode()
    ((kind, text),) = kinds(f"#cloud-config\nwrite_files: [{{path: /a, encoding: gz+b64, content: {bomb}}}]")
    assert (kind, "more than" in text) == ("note", True)


def test_compressed_boot_data_is_read() -> None:
    assert kinds(gzip.compress(b"#!/bin/sh\ntrue", mtime=0)) == [("script", "part-001")]


@pytest.mark.isolation
def test_murano_style_boot_data_runs_in_the_server(lab, push) -> None:
    resources = network_of(lab) | {
        "boot_config-vm": {
            "type": "OS::Heat::CloudConfig",
            "properties": {
                "cloud_config": {"hostname": "vm", "write_files": [{"path": "/etc/agent.conf", "content": "token=1"}]}
            },
        },
        "boot_script_vm": {
            "type": "OS::Heat::SoftwareConfig",
            "properties": {"group": "ungrouped", "config": "#!/bin/bash\ncat /etc/agent.conf; exit 3\n"},
        },
        "user_data-vm": {
            "type": "OS::Heat::MultipartMime",
            "properties": {
                "parts": [
                    {"config": {"get_resource": "boot_config-vm"}, "subtype": "cloud-config"},
                    {"config": {"get_resource": "boot_script_vm"}},
                ]
            },
        },
    }
    push(resources | server_of("vm", {"get_resource": "user_data-vm"}))
    console = booted(lab, "vm")
    assert "token=1" in console
    assert "ended with exit code 3" in console
    assert "1 failed steps" in console


@pytest.mark.isolation
def test_a_failing_step_does_not_stop_the_others_and_background_work_goes_on(lab, push) -> None:
    data = """#cloud-config
write_files:
- {path: /proc/none/x, content: x}
- {path: /srv/fine, content: fine, permissions: '0751', owner: 'nobody:nogroup'}
runcmd:
- (while true; do date >> /srv/ticks; sleep 0.05; done) &
- "false"
- echo last > /srv/last
"""
    push(network_of(lab) | server_of("vm", data))
    booted(lab, "vm")
    assert output_of(lab, "vm", "cat /srv/last; stat -c %a /srv/fine; sleep 0.2; test -s /srv/ticks && echo on") == (
        "last\n751\non\n"
    )
