"""What the lab can make: one driver per resource type of a template."""

from __future__ import annotations

from engine.clouds.lab.resources.compute import DRIVERS as _COMPUTE
from engine.clouds.lab.resources.configuration import DRIVERS as _CONFIGURATION
from engine.clouds.lab.resources.driver import Driver
from engine.clouds.lab.resources.network import DRIVERS as _NETWORK
from engine.clouds.lab.resources.waiting import DRIVERS as _WAITING

DRIVERS: dict[str, Driver] = {driver.type: driver for driver in (*_NETWORK, *_COMPUTE, *_CONFIGURATION, *_WAITING)}
TYPES = frozenset(DRIVERS)
