"""What there is in the lab, for checks of models: its networks. It takes any flavor, image and key pair."""

from __future__ import annotations

from typing import Any, ClassVar, TypeAlias

from engine.clouds import services
from engine.clouds.lab.neutron import LabNetwork

# The port names a method `list`, which hides the type in the class.
Items: TypeAlias = list[dict[str, Any]]
Regions: TypeAlias = list[str]


class LabInventory:
    """Implements `services.Inventory` over the lab's networks."""

    kinds: ClassVar[frozenset[str]] = frozenset({"networks", "subnets", "routers"})

    def __init__(self, network: LabNetwork) -> None:
        self._network = network

    def regions(self) -> Regions | None:
        """The lab is one region, whatever it is called."""
        return None

    def list(self, region: str, kind: str) -> Items | None:
        """All networks, subnets or routers."""
        return self._network.list(region, kind)

    def quotas(self, region: str, service: str) -> dict[str, services.Quota] | None:
        """There are none: the machine is the bound."""
        return {}
