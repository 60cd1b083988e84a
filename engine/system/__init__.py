"""Native classes of the core library (spec/core-library §9): what MuranoPL cannot say for itself.

They reach the world through effects only: docs/architecture.md says what those are, `engine.effects` carries them out.
"""

from __future__ import annotations

from engine.system.agent import Agent
from engine.system.agent_listener import AgentListener
from engine.system.fixture import TestFixture
from engine.system.heat_stack import HeatStack
from engine.system.instance_notifier import InstanceNotifier
from engine.system.logger import Logger
from engine.system.metadef_browser import MetadefBrowser
from engine.system.mistral_client import MistralClient
from engine.system.network_explorer import NetworkExplorer
from engine.system.principals import Project, User
from engine.system.resources import Resources
from engine.system.status_reporter import StatusReporter

_NATIVES: dict[str, type] = {
    "io.murano.Project": Project,
    "io.murano.User": User,
    "io.murano.system.Agent": Agent,
    "io.murano.system.AgentListener": AgentListener,
    "io.murano.system.HeatStack": HeatStack,
    "io.murano.system.InstanceNotifier": InstanceNotifier,
    "io.murano.system.Logger": Logger,
    "io.murano.system.MetadefBrowser": MetadefBrowser,
    "io.murano.system.MistralClient": MistralClient,
    "io.murano.system.NetworkExplorer": NetworkExplorer,
    "io.murano.system.Resources": Resources,
    "io.murano.system.StatusReporter": StatusReporter,
    "io.murano.test.TestFixture": TestFixture,
}


def natives() -> dict[str, type]:
    """MuranoPL class name -> host class, for `System.natives`."""
    return dict(_NATIVES)
