"""Boot data that installs and starts the guest agent: a MIME multipart with one cloud-config, as cloud-init takes it.

Deterministic: the same access gives the same text, since a changed text would have Heat replace the server.
"""

from __future__ import annotations

import base64
import gzip
import importlib.resources
import json
from collections.abc import Mapping

CONFIG_PATH = "/etc/chandlery/agent.json"
AGENT_PATH = "/usr/local/lib/chandlery/agent.py"
UNIT_PATH = "/etc/systemd/system/chandlery-agent.service"
PER_BOOT_PATH = "/var/lib/cloud/scripts/per-boot/chandlery-agent"
CRON_PATH = "/etc/cron.d/chandlery-agent"
BOUNDARY = "==chandlery-boot-data=="
USER_DATA_LIMIT = 65535  # bytes of base64 that Nova takes

UNIT = f"""\
[Unit]
Description=Chandlery guest agent
After=network-online.target
Wants=network-online.target

[Service]
ExecStart=/usr/bin/env python3 {AGENT_PATH} --foreground
Restart=always
RestartSec=2
KillMode=process

[Install]
WantedBy=multi-user.target
"""

# Where no systemd starts the unit with every boot: cloud-init does, or cron. A second agent leaves at once.
PER_BOOT = f"""\
#!/bin/sh
[ "$(cat /proc/1/comm)" = systemd ] || exec python3 {AGENT_PATH} --daemon
"""

CRON = f"""\
# Starts Chandlery's agent where no systemd does.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
@reboot root {PER_BOOT_PATH}
"""

# Asks what process 1 is rather than for a folder in /run: a container sees the folders of its host.
START = f"""\
if [ "$(cat /proc/1/comm)" = systemd ]; then
  systemctl daemon-reload && systemctl enable --now chandlery-agent && systemctl restart --no-block chandlery-agent
else
  python3 {AGENT_PATH} --daemon
fi
"""


def user_data(access: Mapping[str, object]) -> str:
    """The boot data of the server whose agent has this access: `agent_id`, `url`, `token`, and more that the agent's
    configuration takes.

    :raises ValueError: something needed is missing, or the text is larger than Nova takes.
    """
    return multipart([("text/cloud-config", "chandlery-agent.yaml", cloud_config(access))])


def cloud_config(access: Mapping[str, object]) -> str:
    """The part by itself, for those who compose boot data of more parts. JSON is YAML."""
    missing = [name for name in ("agent_id", "url", "token") if not access.get(name)]
    if missing:
        raise ValueError(f"boot data: the agent's access lacks {', '.join(missing)}")
    config = json.dumps(dict(access), sort_keys=True, indent=1) + "\n"
    document = {
        "write_files": [
            file_entry(CONFIG_PATH, "0600", config),
            file_entry(AGENT_PATH, "0755", agent_source()),
            file_entry(UNIT_PATH, "0644", UNIT),
            file_entry(PER_BOOT_PATH, "0755", PER_BOOT),
            file_entry(CRON_PATH, "0644", CRON),
        ],
        "runcmd": [["sh", "-c", START]],
    }
    return "#cloud-config\n" + json.dumps(document, indent=1) + "\n"


def agent_source() -> str:
    """The agent's one file."""
    return importlib.resources.files("engine.agents").joinpath("guest.py").read_text(encoding="utf-8")


def file_entry(path: str, permissions: str, content: str) -> dict[str, str]:
    packed = gzip.compress(content.encode(), mtime=0)
    packed = packed[:9] + b"\xff" + packed[10:]  # the byte that names the packing system: unknown, whatever the Python
    return {
        "path": path,
        "owner": "root:root",
        "permissions": permissions,
        "encoding": "gz+b64",
        "content": base64.b64encode(packed).decode(),
    }


def multipart(parts: list[tuple[str, str, str]]) -> str:
    """`(content type, file name, text)` each; the text must be ASCII lines."""
    lines = [f'Content-Type: multipart/mixed; boundary="{BOUNDARY}"', "MIME-Version: 1.0", ""]
    for content_type, name, text in parts:
        text.encode("ascii")
        lines += [
            f"--{BOUNDARY}",
            f'Content-Type: {content_type}; charset="us-ascii"',
            "MIME-Version: 1.0",
            "Content-Transfer-Encoding: 7bit",
            f'Content-Disposition: attachment; filename="{name}"',
            "",
            text,
        ]
    whole = "\n".join([*lines, f"--{BOUNDARY}--", ""])
    if len(base64.b64encode(whole.encode())) > USER_DATA_LIMIT:
        raise ValueError(f"boot data: {len(whole)} bytes are more than Nova takes ({USER_DATA_LIMIT} after base64)")
    return whole
