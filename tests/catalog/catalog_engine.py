"""The engine's part in the catalog's tests: answers as it is told, and what it writes at the end of a deployment."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from typing import Any

from catalog_cloud import Cloud

from catalog import broker, config
from catalog.broker import oslo_messaging
from catalog.db import deployments, environments, sessions, statuses


class ScriptedEngine:
    """Answers as it is told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.answer: Any = None
        self._ready: list[str] = []
        self._news = threading.Condition()

    def deployment_ready(self, _context: Any, deployment_id: str) -> None:
        with self._news:
            self._ready.append(deployment_id)
            self._news.notify_all()

    def was_woken_for(self, deployment_id: str) -> bool:
        """Waits until a deployment is announced."""
        with self._news:
            return self._news.wait_for(lambda: deployment_id in self._ready, timeout=60)

    def check(self, _context: Any, **arguments: Any) -> Any:
        return self._reply("check", arguments)

    def plan(self, _context: Any, **arguments: Any) -> Any:
        return self._reply("plan", arguments)

    def static_action(self, _context: Any, **arguments: Any) -> Any:
        return self._reply("static_action", arguments)

    def schema(self, _context: Any, **arguments: Any) -> Any:
        return self._reply("schema", arguments)

    def reconcile(self, _context: Any, **arguments: Any) -> Any:
        return self._reply("reconcile", arguments)

    def remove_leftover(self, _context: Any, **arguments: Any) -> Any:
        return self._reply("remove_leftover", arguments)

    def _reply(self, name: str, arguments: dict[str, Any]) -> Any:
        self.asked.append((name, arguments))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@contextlib.contextmanager
def scripted(messaging: dict[str, Any]) -> Iterator[ScriptedEngine]:
    """A scripted engine at its end of the in-process transport; `messaging` has an exchange of the caller's own."""
    engine = ScriptedEngine()
    conf = config.load(overrides={"messaging": messaging})
    target = broker.target(conf, server="scripted")
    server = oslo_messaging.get_rpc_server(broker.transport(conf), target, [engine], executor="threading")
    server.start()
    yield engine
    server.stop()
    server.wait()


def finish(cloud: Cloud, environment_id: str, result: dict[str, Any]) -> None:
    """What the engine writes at the end of a deployment."""
    with cloud.database.transaction() as work:
        [deployment] = deployments.unfinished(work, environment_id)
        environment, row = environments.get(work, environment_id), sessions.get(work, deployment.session_id or "")
        assert environment is not None
        assert row is not None
        objects = json.loads(json.dumps(row.model["Objects"]))
        for app in objects["services"]:
            app["?"]["_actions"] = {
                "a1_scaleUp": {"name": "scaleUp", "title": "Scale up", "enabled": True},
                "a1_off": {"name": "off", "title": "Off", "enabled": False},
            }
        environment.model = {**row.model, "Objects": objects, "ObjectsCopy": row.model["Objects"]}
        environment.version += 1
        row.state = sessions.DEPLOY_FAILURE if result["isException"] else sessions.DEPLOYED
        deployment.state = deployments.FINISHED
        deployment.result = result
        statuses.add(work, deployment.id, environment_id, text="Deployment finished")
