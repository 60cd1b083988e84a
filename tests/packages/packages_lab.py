"""The lab behind the packages' cloud model: servers are sandboxes, and plans run in them, with the image's stand-ins.

Only the way of a plan to its server is short: no service and no agent in between, the agent's runner is called there.
"""

from __future__ import annotations

import base64
import inspect
import json
import urllib.error
import urllib.request

import packages_cloud

from engine.agents import guest
from engine.clouds.lab import LabOrchestration
from engine.clouds.ports import Stack

RUNNER = """
import json, sys, types
request = json.load(sys.stdin)
agent = sys.modules["agent"] = types.ModuleType("agent")
exec(compile(request["source"], "agent", "exec"), agent.__dict__)
print("\\n" + json.dumps(agent.execute(request["plan"], "plan", "/var/lib/plans/" + request["plan"]["ID"])))
"""


class LabCloud(packages_cloud.Cloud):
    """The cloud of packages_cloud, with the lab's servers instead of the model's."""

    def __init__(self, lab: LabOrchestration) -> None:
        super().__init__()
        self.lab = lab

    def config(self, group: str | None, name: str) -> object:
        return self.lab.ip_template if name == "env_ip_template" else None

    def get(self, url: str, account: str = "") -> tuple[int, object]:
        """Status and content of an HTTP GET, the content as JSON if it is."""
        request = urllib.request.Request(self.lab.reachable(url))
        if account:
            request.add_header("Authorization", "Basic " + base64.b64encode(account.encode()).decode())
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                status, content = response.status, response.read()
        except urllib.error.HTTPError as error:
            status, content = error.code, error.read()
        return status, json.loads(content) if content else None

    def _config(self, group: str | None = None, name: str = "", **_: object) -> object:
        return self.config(group, name)

    def _network_list(self, kind: str, region: str | None = None, **_: object) -> object:
        return self.lab.network.list(region, kind)

    def _network_create_router(self, region: str | None, name: str, external_network_id: str) -> object:
        return self.lab.network.create_router(region, name, external_network_id)

    def _heat_push(self, stack: dict, template: dict, **_: object) -> object:
        return self.lab.push(_stack(stack), template, {}, None, {})

    def _heat_current(self, stack: dict, **_: object) -> object:
        template = self.lab.current(_stack(stack))
        return None if template is None else {"template": template, "parameters": {}}

    def _heat_outputs(self, stack: dict, **_: object) -> object:
        return self.lab.outputs(_stack(stack))

    def _heat_delete(self, stack: dict, **_: object) -> None:
        self.lab.delete(_stack(stack))

    def _agent_run(self, instance_id: str, plan: dict, **_: object) -> object:
        self.plans.append((plan["Name"], self.servers[instance_id]))
        request = {"source": inspect.getsource(guest), "plan": plan}
        done = self.lab.exec(self.servers[instance_id], ["python3", "-c", RUNNER], text=json.dumps(request), timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])


def _stack(stack: dict) -> Stack:
    return Stack(stack["name"], project_id="project", environment_id="environment")
