"""The engine as a whole: worker and RPC server over one database, in process or as `chandlery-engine`.

service = EngineService(conf, database, clouds)
service.start()
...
service.stop()          # drains
"""

from __future__ import annotations

import functools
import gc
import logging
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from oslo_config import cfg

from catalog.db import base, content_stores, deployments, keys, plans
from engine import check, config, deployment, notices, packages, reconciling, rpc, system, tags, worker

LOG = logging.getLogger(__name__)

STOP_MARGIN = 10.0  # seconds beyond the drain; whoever still computes then loses its lease by and by


class EngineService:
    """Runs deployments and answers the API's questions between `start()` and `stop()`.

    `clouds` gives the cloud of a deployment, or of a question; `options` adds to what `config(group, name)` of the core
    library answers. The options of `engine.config` are registered with `conf` here. Raises `ValueError` without the
    keys of the database.
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        database: base.Database,
        clouds: deployment.Clouds,
        *,
        options: Mapping[tuple[str | None, str], Any] | None = None,
    ) -> None:
        config.register(conf)
        keys.configure(database, conf)
        settings = deployment.EngineSettings(
            most_claims=conf.engine.most_claims,
            most_effects=conf.engine.most_effects,
            class_configs=conf.engine.class_configs,
            drain=conf.engine.drain,
            deployment_timeout=conf.engine.deployment_timeout,
            options={**config.readable(conf), **(options or {})},
            stack_tags=tuple(tag.strip() for tag in conf.heat.stack_tags.split(",") if tag.strip()),
            notices=notices.enabled(conf),
            plan_key=functools.cache(lambda: plans.key(database)),
        )
        self._crier = notices.Crier(conf, database)
        self._drain = settings.drain
        natives = system.natives()
        store = packages.PackageStore(database, conf.engine.compile_cache)
        run = deployment.Deployments(database, store, clouds, natives, settings).run
        self.worker = worker.Worker(
            database,
            run,
            worker.WorkerSettings(
                concurrency=conf.engine.engine_workers,
                poll=conf.engine.poll,
                lease=conf.engine.lease,
                notices=settings.notices,
                project_limit=conf.engine.project_limit,
                keep_journals=conf.engine.keep_journals * 86400.0,
            ),
        )
        reconciler = reconciling.Reconciler(
            database, clouds, tags.Tags(database, settings.stack_tags), settings.options
        )
        providers = check.Providers(database)
        endpoint = rpc.Endpoint(store, clouds, natives, settings, self.worker.wake, providers, reconciler)
        self._server = rpc.server(conf, endpoint)

    def start(self) -> None:
        """Begins to claim and to answer."""
        self._server.start()
        self._crier.start()
        self.worker.start()

    def stop(self) -> None:
        """Drains: effects in flight may end, deployments go back to be claimed by others."""
        self._server.stop()
        self._server.wait()
        self.worker.stop(self._drain + STOP_MARGIN)
        self._crier.stop()


def collect_rarely() -> None:
    """Has Python look for garbage in cycles rarely, and no more at what is loaded by now: for an engine's process.

    Programs make many objects that all live until the program ends. Walking them again and again took a sixth of an
    engine's time; memory was seen to stay the same.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


def main(arguments: Sequence[str] | None = None) -> int:
    """The `chandlery-engine` process: `chandlery-engine [configuration file ...]`, until SIGTERM or SIGINT."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        conf = config.load(list(sys.argv[1:] if arguments is None else arguments))
    except cfg.Error as error:
        sys.stderr.write(f"chandlery-engine: {error}\n")
        return 2
    try:
        database = base.Database(conf.database.connection)
        content_stores.configure(database, conf)
        deployments.end_idle_transactions(database, conf.engine.lease)
        service = EngineService(conf, database, configured_clouds(conf, database))
    except ValueError as error:
        sys.stderr.write(f"chandlery-engine: {error}\n")
        return 2
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    collect_rarely()
    service.start()
    LOG.info("ready")
    stopping.wait()
    LOG.info("draining")
    service.stop()
    database.dispose()
    return 0


def configured_clouds(conf: cfg.ConfigOpts, database: base.Database) -> deployment.Clouds:
    """The clouds of a process of its own, from its configuration. Raises `ValueError` for what is missing there."""
    from engine.clouds import openstack

    if conf.engine.cloud != "heat":
        raise ValueError(
            "[engine] cloud = lab: the lab lives in the process of `chandlery serve`; for workers of their own set "
            "cloud = heat"
        )
    return openstack.clouds(conf, database)
