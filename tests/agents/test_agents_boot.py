"""Boot data: what cloud-init would make of it."""

from __future__ import annotations

import ast
import base64
import email
import gzip
import json
import pathlib
import shutil
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


def test_it_starts_the_agent_with_every_boot_where_there_is_no_systemd() -> None:
    files = {entry["path"]: entry for entry in parts(boot.user_data(ACCESS))["write_files"]}
    script = files["/var/lib/cloud/scripts/per-boot/chandlery-agent"]
    assert script["permissions"] == "0755"
    assert subprocess.run(["sh", "-n", "-c", content(script)], check=True).returncode == 0
    assert "exec python3 /usr/local/lib/chandlery/agent.py --daemon" in content(script)
    assert "@reboot root /var/lib/cloud/scripts/per-boot/chandlery-agent" in content(
        files["/etc/cron.d/chandlery-agent"]
    )


@pytest.mark.skipif(shutil.which("cloud-init") is None, reason="cloud-init is not installed")
def test_cloud_inits_own_schema_finds_it_valid(tmp_path: pathlib.Path) -> None:
    access = {**ACCESS, "ca": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}
    (tmp_path / "config.yaml").write_text(boot.cloud_config(access))
    command = ["cloud-init", "schema", "--config-file", tmp_path / "config.yaml"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Valid" in done.stdout
    (tmp_path / "config.yaml").write_text(boot.cloud_config(access).replace('"owner": "root:root"', '"owner": 1'))
    assert subprocess.run(command, capture_output=True).returncode == 1  # it does look


def test_the_agent_keeps_to_what_python_3_6_has(tmp_path: pathlib.Path) -> None:
    """Its syntax and its library, by vermin; older Pythons, where they are installed, run it in the lifecycle tests."""
    (tmp_path / "agent.py").write_text(boot.agent_source())
    vermin = pathlib.Path(sys.executable).with_name("vermin")
    command = [vermin, "-t=3.6-", "--no-tips", "--eval-annotations", tmp_path / "agent.py"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    (tmp_path / "agent.py").write_text(boot.agent_source() + "\nif (n := 1):\n    pass\n")
    assert subprocess.run(command, capture_output=True).returncode == 1


def test_the_agent_imports_nothing_but_the_standard_library() -> None:
    found: set[str] = set()
    for node in ast.walk(ast.parse(boot.agent_source())):
        if isinstance(node, ast.Import):
            found.update(name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module).partition(".")[0])
    assert found <= sys.stdlib_module_names


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
