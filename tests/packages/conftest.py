"""A server for the packages' plans: the real agent's runner, with recording stand-ins for the tools on its path."""

from __future__ import annotations

import pathlib
import shlex
import uuid
from collections.abc import Mapping

import pytest
import yaml

from engine.agents import guest
from engine.system import plans

ROOT = pathlib.Path(__file__).parents[2] / "packages"
TOOLS = ("apt-get", "curl", "kubeadm", "kubectl", "modprobe", "podman", "swapoff", "systemctl")

TOOL = """\
#!/bin/bash
line="$(basename "$0")$(printf ' %q' "$@")"
echo "$line" >>{folder}/commands
if [ "$1 $2" = "apply -f" ]; then cp "$3" {folder}/applied; fi
case "$line" in
{cases}
esac
"""


class Server:
    """Runs plans of bundled packages and knows which commands they have run."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.tools = folder / "bin"
        self.tools.mkdir()
        self.names = set(TOOLS)
        self.answers: dict[str, tuple[str, int]] = {}
        self._write_tools()

    def answer(self, beginning: str, output: str, code: int = 0) -> None:
        """A command line that begins like this prints `output` and exits with `code`."""
        self.answers[beginning] = (output, code)
        self._write_tools()

    def remove(self, tool: str) -> None:
        self.names.remove(tool)
        (self.tools / tool).unlink()

    def shield(self, *tools: str) -> None:
        """Keeps a script from doing this for real."""
        self.names.update(tools)
        self._write_tools()

    def run(self, package: str, plan: str, parameters: Mapping[str, object]) -> dict[str, object]:
        """The result message of a plan."""
        resources = ROOT / package / "Resources"
        template = yaml.safe_load((resources / f"{plan}.template").read_text())
        assert set(template["Parameters"]) == set(parameters), "these are the plan's parameters"
        template["Parameters"] = dict(parameters)
        built = plans.build_plan(template, _Scripts(resources), uuid.uuid4().hex, lambda: 1)
        return guest.execute(built, "plan", str(self.folder / "plan"))

    def value(self, package: str, plan: str, parameters: Mapping[str, object]) -> object:
        """What a plan returns; it has to succeed."""
        result = self.run(package, plan, parameters)
        assert result["ErrorCode"] == 0, result["Body"]
        return result["Body"]

    @property
    def commands(self) -> list[str]:
        path = self.folder / "commands"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def applied(self) -> str:
        """The file of the last `kubectl apply -f`."""
        return (self.folder / "applied").read_text()

    def _write_tools(self) -> None:
        cases = "".join(
            f"{shlex.quote(beginning)}*) printf %s {shlex.quote(output)}; exit {code};;\n"
            for beginning, (output, code) in self.answers.items()
        )
        for name in self.names:
            path = self.tools / name
            path.write_text(TOOL.format(folder=self.folder, cases=cases))
            path.chmod(0o755)


class _Scripts:
    def __init__(self, resources: pathlib.Path) -> None:
        self._resources = resources

    def text(self, path: str) -> str:
        return (self._resources / path).read_text()

    def base64(self, path: str) -> str:
        return plans.encode((self._resources / path).read_bytes())


@pytest.fixture
def server(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    folder = tmp_path / "server"
    folder.mkdir()
    made = Server(folder)
    monkeypatch.setenv("PATH", f"{made.tools}:/usr/bin:/bin")
    return made
