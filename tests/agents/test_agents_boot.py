"""Boot data: what cloud-init would make of it."""

from __future__ import annotations

import base64
import email
import gzip
import json
import pathlib
import subprocess
import sys

import pytest
import yaml

from engine.agents import boot

ACCESS = {"agent_id": "a" * 32, "url": "http://service:8082", "token": "t" * 64, "retry_limit": 1.0}


def parts(text: str) -> dict:
    message = email.message_from_string(text)
    assert message.is_multipart()
    [part] = message.get_payload()
    assert part.get_content_type() == "text/cloud-config"
    assert part.get_payload().startswith("#cloud-config\n")
    return yaml.safe_load(part.get_payload())


def content(entry: dict) -> str:
    assert entry["encoding"] == "gz+b64"
    return gzip.decompress(base64.b64decode(entry["content"])).decode()


def test_it_is_the_same_every_time() -> None:
    assert boot.user_data(ACCESS) == boot.user_data(dict(reversed(ACCESS.items())))


def test_it_writes_the_configuration_for_root_only_and_the_agent(tmp_path: pathlib.Path) -> None:
    files = {entry["path"]: entry for entry in parts(boot.user_data(ACCESS))["write_files"]}
    assert json.loads(content(files["/etc/chandlery/agent.json"])) == ACCESS
    assert files["/etc/chandlery/agent.json"]["permissions"] == "0600"
    agent = tmp_path / "agent.py"
    agent.write_text(content(files["/usr/local/lib/chandlery/agent.py"]))
    shown = subprocess.run([sys.executable, agent, "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout.startswith("chandlery-agent ")
    assert "KillMode=process" in content(files["/etc/systemd/system/chandlery-agent.service"])


def test_it_starts_the_agent_with_and_without_systemd() -> None:
    [[shell, option, text]] = parts(boot.user_data(ACCESS))["runcmd"]
    assert [shell, option] == ["sh", "-c"]
    assert subprocess.run(["sh", "-n", "-c", text], check=True).returncode == 0
    assert "systemctl enable --now chandlery-agent" in text
    assert "agent.py --daemon" in text


def test_it_fits_into_what_nova_takes() -> None:
    assert len(base64.b64encode(boot.user_data(ACCESS).encode())) < boot.USER_DATA_LIMIT
    with pytest.raises(ValueError, match="more than Nova takes"):
        boot.multipart([("text/plain", "x", "x" * 60_000)])


def test_an_access_that_lacks_something_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks token"):
        boot.user_data({"agent_id": "a", "url": "http://x"})


def test_a_configuration_that_lacks_something_is_named(tmp_path: pathlib.Path) -> None:
    (tmp_path / "agent.py").write_text(boot.agent_source())
    for config, message in (('{"url": "x"}', "'agent_id' is missing"), ("[]", "JSON object"), ("{", "cannot be read")):
        (tmp_path / "agent.json").write_text(config)
        run = [sys.executable, tmp_path / "agent.py", "--config", tmp_path / "agent.json"]
        done = subprocess.run(run, capture_output=True, text=True)
        assert done.returncode == 2
        assert "agent.json" in done.stderr
        assert message in done.stderr or "http://" in done.stderr
