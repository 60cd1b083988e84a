#!/usr/bin/env python3
"""The guest agent: fetches execution plans from Chandlery over HTTP, runs them, sends output and results back.

One file, Python >= 3.6, standard library only: boot data carries it into a server as it is. It only ever connects out.
Every plan id runs at most once: its folder is on disk before it starts, and a stored result is sent again whenever the
same plan comes again. Each plan runs in a process of its own, so neither a body that crashes nor a restart of the agent
loses a result. Plans, files and results are those of murano-agent (spec/agent-protocol.md §3, §5, §6). Read it from the
top: `main`, `Agent`, `Service`, `OutputSender`, `Journal`, then what runs a plan.
"""
# The annotations below must be evaluated by Python 3.6, so they keep to its spelling.
# ruff: noqa: UP006, UP035, UP045, S310, S311, SIM105

import argparse
import ast
import base64
import builtins
import codecs
import errno
import fcntl
import hashlib
import http.client
import importlib
import json
import logging
import logging.handlers
import os
import random
import re
import shutil
import signal
import ssl
import stat
import subprocess
import sys
import threading
import time
import traceback
import types
import urllib.error
import urllib.parse
import urllib.request
import uuid
from typing import IO, Any, Callable, Dict, Iterator, List, NoReturn, Optional, Tuple

VERSION = "1.1.0"
CONFIG = "/etc/chandlery/agent.json"
STORAGE = "/var/lib/chandlery-agent"
LOG_FILE = "/var/log/chandlery-agent.log"

POLL_SECONDS = 25  # the service holds a poll at most that long
ANSWER_GRACE = 15  # how much longer than the poll we wait for its answer
RETRY_FIRST = 0.2  # seconds before the first retry; doubles
RETRY_LIMIT = 5.0  # ... up to this, configuration `retry_limit`
REFUSED_RETRY = 30.0  # after 401/403: somebody has to act, no need to hurry

OUTPUT_LIMIT = 1024 * 1024  # characters kept of each of a script's two outputs
RESULT_LIMIT = 4 * 1024 * 1024  # bytes of a result message; the service takes no more
SHORTEST_TEXT = 1024  # characters that are left of each text in a result that is too large
PLAN_LIMIT = 64 * 1024 * 1024  # bytes of a plan we accept
DOWNLOAD_LIMIT = 8 * 1024 * 1024 * 1024  # bytes of one Downloadable file
OUTPUT_GRACE = 2.0  # how long we go on reading after a script ended whose background children hold its output
SHOWN_LIMIT = 1000 * 1000  # characters of a plan's output that are sent while it runs
SHOWN_AT_ONCE = 64 * 1024  # ... in one call
SHOWN_LINE = 4096  # characters of a line that are sent without its end
SHOWN_PAUSE = 0.5  # seconds between two calls
SHOWN_TIMEOUT = 10.0  # seconds a call may take: it must not keep the result waiting
LOG_LIMIT = 4 * 1024 * 1024  # bytes of the log; one older log is kept
REBOOT_SECONDS = 600.0  # in which a reboot that was ordered has to come
RESULTS_KEPT = 200  # results kept for a plan that comes again; of older ones only the id is kept

FORMAT_ERROR = 2
VERSION_ERROR = 9
SCRIPT_ERROR = 100
ANY_ERROR = 1

LOG = logging.getLogger("chandlery-agent")
Json = Dict[str, Any]


def main(arguments: Optional[List[str]] = None) -> int:
    parser = argparse.ArgumentParser(
        prog="chandlery-agent", description="Runs the execution plans Chandlery sends to this server."
    )
    parser.add_argument(
        "--config", default=CONFIG, help="JSON file with url, agent_id, token, storage (default: %(default)s)"
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "--foreground", action="store_true", help="stay in the foreground, log to standard error (default)"
    )
    mode.add_argument(
        "--daemon", action="store_true", help="go to the background, log to log_file of the configuration"
    )
    parser.add_argument("--version", action="version", version="chandlery-agent " + VERSION)
    options = parser.parse_args(arguments)
    try:
        config = Config.read(options.config)
        lock = lock_storage(config.storage)
    except (ConfigError, OSError) as error:
        sys.stderr.write(f"chandlery-agent: {error}\n")
        return 2
    if lock is None:
        sys.stderr.write(f"chandlery-agent: an agent already runs on {config.storage}\n")
        return 0
    handler: logging.Handler = logging.StreamHandler()
    if options.daemon:
        handler = logging.handlers.RotatingFileHandler(config.log_file, maxBytes=LOG_LIMIT, backupCount=1)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    if options.daemon:
        daemonise()
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(0))
    try:
        agent = Agent(config, options.config, lock)
    except (ConfigError, OSError) as error:
        LOG.error("%s", error)
        return 2
    try:
        agent.run_forever()
    except KeyboardInterrupt:
        pass
    return 0


class ConfigError(Exception):
    """The configuration file cannot be used; the message says what to change."""


class Config:
    """What boot data tells the agent: `url`, `agent_id`, `token`; optional `storage`, `log_file`, `retry_limit`,
    `proxy`, and who signs the service's certificate, `ca_file` or the text `ca` (PEM).
    """

    def __init__(self, values: Json, path: str) -> None:
        for name in ("url", "agent_id", "token"):
            if not isinstance(values.get(name), str) or not values[name]:
                raise ConfigError(f"{path}: '{name}' is missing; a non-empty string is needed")
        if not values["url"].startswith(("http://", "https://")):
            raise ConfigError("{}: 'url' must begin with http:// or https://, found {!r}".format(path, values["url"]))
        if not re.match(r"[A-Za-z0-9_-]{1,64}$", values["agent_id"]):
            raise ConfigError(f"{path}: 'agent_id' must be 1 to 64 letters, digits, '_', '-'")
        self.url: str = values["url"].rstrip("/")
        self.agent_id: str = values["agent_id"]
        self.token: str = values["token"]
        self.storage: str = values.get("storage") or STORAGE
        self.log_file: str = values.get("log_file") or LOG_FILE
        self.ca_file: Optional[str] = values.get("ca_file") or None
        self.ca: Optional[str] = values.get("ca") or None
        self.proxy: Optional[str] = values.get("proxy") or None
        self.retry_limit = float(values.get("retry_limit") or RETRY_LIMIT)

    @classmethod
    def read(cls, path: str) -> "Config":
        try:
            with open(path, encoding="utf-8") as file:
                values = json.load(file)
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: cannot be read: {error}")
        if not isinstance(values, dict):
            raise ConfigError(f"{path}: a JSON object is needed")
        return cls(values, path)


class Agent:
    """Polls, runs, answers; one plan at a time, in the service's order."""

    def __init__(self, config: Config, config_path: str, lock: IO[str]) -> None:
        self.config = config
        self.config_path = config_path
        self.lock = lock
        self.journal = Journal(config.storage)
        self.service = Service(config)
        self.is_known = self.service.has_session
        self.retry = RETRY_FIRST

    def run_forever(self) -> NoReturn:
        LOG.info(
            "agent %s of %s, Python %s, storage %s",
            self.config.agent_id,
            self.config.url,
            sys.version.split()[0],
            self.config.storage,
        )
        self.finish_interrupted()
        while True:
            try:
                if not self.is_known:
                    self.enrol()
                self.send_results()
                self.reboot_if_wanted()
                delivery = self.service.poll()
                self.retry = RETRY_FIRST
                if delivery is not None:
                    self.handle(delivery)
            except Refused as error:
                LOG.error("%s", error)
                self.is_known = False
                time.sleep(self.next_pause())
            except Unavailable as error:
                pause = error.retry_after if error.retry_after is not None else self.next_pause()
                LOG.warning("%s; trying again in %.1f s", error, pause)
                time.sleep(pause)
            except OSError as error:  # a full disk must not end the agent
                LOG.error("storage %s: %s", self.config.storage, error)
                time.sleep(self.next_pause())

    def enrol(self) -> None:
        """Makes the session token known with the boot token; repeating it does no harm. The configuration is read
        again, since boot data that ran again may have brought another token."""
        try:
            self.config = Config.read(self.config_path)
            self.service.configure(self.config)
            self.service.enrol()
            self.is_known = True
            LOG.info("enrolled")
        except ConfigError as error:
            LOG.error("%s", error)
            time.sleep(self.next_pause())
        except Refused as error:
            self.is_known = False
            LOG.error("enrolment refused: %s; the next deployment of the environment opens it again", error)
            time.sleep(random.uniform(0.5, 1.0) * min(REFUSED_RETRY, self.config.retry_limit * 6))

    def next_pause(self) -> float:
        pause = min(self.retry, self.config.retry_limit)
        self.retry = pause * 2
        return random.uniform(0.5, 1.0) * pause

    def finish_interrupted(self) -> None:
        """Waits for plans whose process outlived the previous agent; those that died with it get an error result.

        One that a reboot ended was told to (a kernel was installed), or was interrupted: nobody can know. Its output is
        kept, and whoever sent it decides what to do with an error that says so.
        """
        for entry in self.journal.unfinished():
            LOG.info("plan %s was running when the agent ended", entry.plan_id)
            self.wait_for(entry, None)

    def handle(self, delivery: Json) -> None:
        plan_id, plan = delivery["id"], delivery["plan"]
        entry = self.journal.entry(plan_id)
        if entry.exists():
            LOG.info("plan %s came again; sending its stored result", plan_id)
            entry.mark_unsent()
            return
        LOG.info("plan %s %s starts", plan_id, plan.get("Name") or "" if isinstance(plan, dict) else "")
        entry.create()
        self.start(entry, plan)
        self.wait_for(entry, delivery.get("timeout"))

    def start(self, entry: "Entry", plan: object) -> None:
        read_end, write_end = os.pipe()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.close(write_end)
                self.lock.close()  # a plan may outlive this agent, and must not keep the next one out
                os.setsid()
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                if os.read(read_end, 1):  # our pid is on disk: whatever happens now, the plan is known to have started
                    os.close(read_end)
                    spool = Spool(entry.path("output"))
                    result = execute(plan, entry.plan_id, self.journal.files_folder(entry), spool)
                    if reboots(plan, result):
                        entry.want_reboot()
                    entry.finish(result)
                    status = 0
            except BaseException:  # the process ends here in any case; the agent reports that it left no result
                traceback.print_exc()
            finally:
                os._exit(status)
        os.close(read_end)
        try:
            entry.started(pid)
            os.write(write_end, b"1")
        finally:
            os.close(write_end)

    def wait_for(self, entry: "Entry", timeout: Optional[float]) -> None:
        sender = OutputSender(self.service, entry)
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = 0.005
        while entry.is_running():
            if deadline is not None and time.monotonic() > deadline:
                entry.kill()
                entry.finish(
                    error_result(
                        entry.plan_id,
                        ANY_ERROR,
                        f"the plan did not end within {timeout or 0:g} seconds and was stopped",
                    )
                )
                break
            time.sleep(pause)
            pause = min(pause * 1.3, 0.05)
            sender.look()
        sender.finish()
        if not entry.is_finished():
            entry.finish(error_result(entry.plan_id, ANY_ERROR, entry.interruption()))
        shutil.rmtree(self.journal.files_folder(entry), ignore_errors=True)
        LOG.info("plan %s ended", entry.plan_id)

    def send_results(self) -> None:
        for entry in self.journal.unsent():
            if entry.has_output():  # printed while the service was away
                OutputSender(self.service, entry).finish()
            self.service.send(entry.plan_id, entry.result())
            entry.mark_sent()
            self.journal.trim()

    def reboot_if_wanted(self) -> None:
        """Restarts the server for plans that asked for it, now that their results are with the service. No plan is
        taken before that has happened.
        """
        wanted = [entry for entry in self.journal.entries() if entry.wants_reboot()]
        if not wanted:
            return
        for command in REBOOTS:
            program = shutil.which(command[0])
            if program is None:
                continue
            LOG.info("plan %s wants the server to be restarted: %s", wanted[-1].plan_id, " ".join(command))
            if subprocess.call([program, *command[1:]], stdin=subprocess.DEVNULL) == 0:
                time.sleep(REBOOT_SECONDS)
                LOG.error("the server was not restarted within %.0f s; going on", REBOOT_SECONDS)
                break
        else:
            LOG.error("the server cannot be restarted by any of: %s", ", ".join(name for name, *_rest in REBOOTS))
        for entry in wanted:
            entry.forget_reboot()


# ----------------------------------------------------------------------------
# The service


class Unavailable(Exception):
    """The service cannot be reached or has an error of its own; worth trying again."""

    def __init__(self, message: str, retry_after: Optional[float] = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Refused(Exception):
    """The service does not accept our token."""


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the token to another host."""

    def redirect_request(self, *_arguments: Any, **_named: Any) -> None:
        return None


class Service:
    """The calls of `/agents/v1`; see docs/agents.md."""

    def __init__(self, config: Config) -> None:
        self.configure(config)

    def configure(self, config: Config) -> None:
        # The proxies of the environment are for the tools of plans; what the agent talks through is configured.
        proxies = {"http": config.proxy, "https": config.proxy} if config.proxy else {}
        handlers: List[urllib.request.BaseHandler] = [urllib.request.ProxyHandler(proxies), NoRedirect()]
        if config.url.startswith("https:"):
            handlers.append(urllib.request.HTTPSHandler(context=tls_context(config)))
        self.config = config
        self.session, self.has_session = session_token(config.storage, config.agent_id)
        self.opener = urllib.request.build_opener(*handlers)

    def poll(self) -> Optional[Json]:
        status, body = self.call(
            "poll",
            {"wait": POLL_SECONDS, "version": VERSION, "boot": hashlib.sha256(boot_id().encode()).hexdigest()[:32]},
            self.session,
            POLL_SECONDS + ANSWER_GRACE,
        )
        if status == 204:
            return None
        try:
            delivery = json.loads(body.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise Unavailable(f"the service's answer is not JSON: {error}")
        if not isinstance(delivery, dict) or not isinstance(delivery.get("id"), str) or "plan" not in delivery:
            raise Unavailable("the service's answer is no plan delivery")
        return delivery

    def enrol(self) -> None:
        self.call("enrol", {"session": hashlib.sha256(self.session.encode()).hexdigest()}, self.config.token, 30)

    def send(self, plan_id: str, result: bytes) -> None:
        """Sends one result; one that the service does not want as it is becomes an error that says so. Answers that
        say the plan is gone are final: they would be the same next time.
        """
        path = "results/" + urllib.parse.quote(plan_id, safe="")
        try:
            self.call(path, result, self.session, 60)
        except urllib.error.HTTPError as error:
            LOG.warning("result of plan %s was not taken: %s", plan_id, error)
            if error.code in (400, 413):
                text = f"the service does not take the plan's result: {error}"
                self.call(path, encode_result(error_result(plan_id, ANY_ERROR, text), plan_id), self.session, 60)

    def show(self, plan_id: str, piece: Json) -> int:
        """Sends what a plan printed; from where to go on. Raises HTTPError when nobody wants to see it."""
        path = "output/" + urllib.parse.quote(plan_id, safe="")
        _status, body = self.call(path, piece, self.session, SHOWN_TIMEOUT)
        try:
            return int(json.loads(body.decode("utf-8"))["next"])
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise Unavailable(f"the service's answer does not say where to go on: {error!r}")

    def call(self, path: str, body: Any, token: str, timeout: float) -> Tuple[int, bytes]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode("utf-8")
        request = urllib.request.Request(
            f"{self.config.url}/agents/v1/{self.config.agent_id}/{path}",
            data=data,
            headers={
                "Authorization": "Bearer " + token,
                "Content-Type": "application/json",
                "User-Agent": "chandlery-agent/" + VERSION,
            },
        )
        try:
            with self.opener.open(request, timeout=timeout) as answer:
                content = answer.read(PLAN_LIMIT + 1)
                if len(content) > PLAN_LIMIT:
                    raise Unavailable(f"the service's answer is larger than {PLAN_LIMIT} bytes")
                if answer.status == 204 and answer.headers.get("Retry-After"):
                    raise Unavailable("the service is busy", retry_after(answer.headers))
                return answer.status, content
        except urllib.error.HTTPError as error:
            with error:
                reason = error.read(500).decode("utf-8", "replace")
            if error.code in (401, 403):
                raise Refused("{} answers {}: {}".format(path.split("/")[0], error.code, reason))
            if error.code in (408, 429) or error.code >= 500 or not path.startswith(("results/", "output/")):
                raise Unavailable(
                    "{} answers {}: {}".format(path.split("/")[0], error.code, reason), retry_after(error.headers)
                )
            error.msg = reason
            raise
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise Unavailable(
                "{} cannot be reached: {}".format(
                    self.config.url, getattr(error, "reason", None) or error or type(error).__name__
                )
            )


def tls_context(config: Config) -> ssl.SSLContext:
    """Certificates are always checked: against the given authority alone, or against those of the system."""
    try:
        return ssl.create_default_context(cafile=config.ca_file, cadata=config.ca)
    except (OSError, ValueError) as error:
        raise ConfigError(f"ca_file or ca of the configuration: no certificates of an authority (PEM): {error}")


def retry_after(headers: Any) -> Optional[float]:
    text = headers.get("Retry-After") or ""
    return min(float(text), 300.0) * random.uniform(0.8, 1.2) if re.match(r"\d{1,6}(\.\d{1,3})?$", text) else None


# ----------------------------------------------------------------------------
# What scripts print, while they run


class OutputSender:
    """Sends what a plan's process puts into its spool, in a thread of its own: from where the service says it has all.

    For people only: whatever goes wrong here, the result is not kept waiting for long.
    """

    def __init__(self, service: Service, entry: "Entry") -> None:
        self.service = service
        self.entry = entry
        self.place = 0
        self.ends = threading.Event()
        self.thread: Optional[threading.Thread] = None

    def look(self) -> None:
        """Begins to send, as soon as there is something."""
        if self.thread is None and self.entry.has_output():
            self.thread = threading.Thread(target=self.send_all, daemon=True)
            self.thread.start()

    def finish(self) -> None:
        """Sends the rest, and does not wait for a service that does not answer."""
        self.look()
        self.ends.set()
        if self.thread is not None:
            self.thread.join()

    def send_all(self) -> None:
        while True:
            was_over = self.ends.is_set()
            try:
                while self.send_next():
                    pass
            except urllib.error.HTTPError as error:  # an older service, or nobody watches: so be it
                LOG.info("output of plan %s is not wanted: %s", self.entry.plan_id, error)
                self.entry.forget_output()
                return
            except (Unavailable, Refused) as error:
                LOG.info("output of plan %s is sent later: %s", self.entry.plan_id, error)
                if was_over:
                    return
                pause = getattr(error, "retry_after", None) or SHOWN_PAUSE * 4
                self.ends.wait(pause)
                continue
            except (OSError, ValueError) as error:
                LOG.warning("output of plan %s cannot be read: %s", self.entry.plan_id, error)
                return
            if was_over:
                self.entry.forget_output()
                return
            self.ends.wait(SHOWN_PAUSE)

    def send_next(self) -> bool:
        """Whether there was something to send."""
        texts, end = self.entry.output(self.place)
        if end == self.place:
            return False
        place = self.service.show(self.entry.plan_id, {"from": self.place, "to": end, "texts": texts})
        if place == self.place:
            raise Unavailable("the service does not take the output")
        self.place = place
        return True


class Spool:
    """Where the process of a plan puts what its scripts print: lines of JSON, `[script, stream, text]` each."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.lock = threading.Lock()
        self.room = SHOWN_LIMIT

    def add(self, script: str, stream: str, text: str) -> None:
        with self.lock:
            if self.room <= 0:
                return
            if len(text) > self.room:
                text = text[: self.room] + "\n[... the rest is not shown; the result has its beginning and end ...]\n"
                self.room = 0
            self.room -= len(text)
            try:
                with open(self.path, "a", encoding="ascii") as file:
                    file.write(json.dumps([script, stream, text]) + "\n")
            except OSError:  # a full disk: the script shall go on
                self.room = 0


# ----------------------------------------------------------------------------
# What is on disk


def lock_storage(storage: str) -> Optional[IO[str]]:
    """The open lock file, kept open (and inherited over the fork to the background) as long as the agent lives; None:
    another one does.
    """
    os.makedirs(storage, mode=0o700, exist_ok=True)
    os.chmod(storage, 0o700)
    lock = open(os.path.join(storage, "lock"), "w")  # noqa: SIM115 - held until the process ends
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return None
        raise
    return lock


def session_token(storage: str, agent_id: str) -> Tuple[str, bool]:
    """Our own secret, and whether it was there already: made here, on disk before anybody hears of it, so that neither
    a lost answer nor boot data that runs again can separate us from it. A server made from this one's image is another
    agent, and makes its own.
    """
    path = os.path.join(storage, "session-" + agent_id)
    try:
        with open(path, encoding="ascii") as file:
            token = file.read().strip()
        if len(token) >= 32:
            return token, True
    except (OSError, ValueError):
        pass
    token = base64.urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")
    write_atomically(path, token.encode())
    return token, False


def write_atomically(path: str, content: bytes) -> None:
    temporary = f"{path}.{os.getpid()}.new"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, path)


class Journal:
    """`<storage>/plans/<name>/`: `id`, `process.json`, `output`, `result.json`, `unsent`, `reboot`;
    `<storage>/files/<name>/` while a plan runs.
    """

    def __init__(self, storage: str) -> None:
        self.plans = os.path.join(storage, "plans")
        self.files = os.path.join(storage, "files")
        for folder in (self.plans, self.files):
            os.makedirs(folder, mode=0o700, exist_ok=True)

    def entry(self, plan_id: str) -> "Entry":
        safe = re.match(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}$", plan_id)
        name = plan_id if safe else "sha256." + hashlib.sha256(plan_id.encode("utf-8", "surrogatepass")).hexdigest()
        return Entry(os.path.join(self.plans, name), plan_id)

    def files_folder(self, entry: "Entry") -> str:
        return os.path.join(self.files, os.path.basename(entry.folder))

    def entries(self) -> List["Entry"]:
        """All entries, oldest first."""
        found = []
        for name in os.listdir(self.plans):
            folder = os.path.join(self.plans, name)
            try:
                with open(os.path.join(folder, "id"), encoding="utf-8") as file:
                    found.append((os.stat(file.fileno()).st_mtime_ns, Entry(folder, file.read())))
            except OSError:
                shutil.rmtree(folder, ignore_errors=True)  # we died before the id was written: the plan has not begun
        return [entry for _age, entry in sorted(found, key=lambda pair: pair[0])]

    def unfinished(self) -> List["Entry"]:
        return [entry for entry in self.entries() if not entry.is_finished()]

    def unsent(self) -> List["Entry"]:
        return [entry for entry in self.entries() if entry.is_unsent()]

    def trim(self) -> None:
        kept = [
            entry for entry in self.entries() if entry.is_finished() and not entry.is_unsent() and entry.has_result()
        ]
        for entry in kept[:-RESULTS_KEPT]:
            entry.forget_result()


class Entry:
    """One plan id's state on disk."""

    def __init__(self, folder: str, plan_id: str) -> None:
        self.folder = folder
        self.plan_id = plan_id

    def path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def exists(self) -> bool:
        return os.path.exists(self.path("id"))

    def create(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder, mode=0o700)
        write_atomically(self.path("id"), self.plan_id.encode("utf-8", "surrogatepass"))

    def started(self, pid: int) -> None:
        write_atomically(
            self.path("process.json"), json.dumps({"pid": pid, "begun": process_begun(pid), "boot": boot_id()}).encode()
        )

    def finish(self, result: Json) -> None:
        write_atomically(self.path("unsent"), b"")
        write_atomically(self.path("result.json"), encode_result(result, self.plan_id))

    def process(self) -> Json:
        try:
            with open(self.path("process.json"), encoding="ascii") as file:
                return dict(json.load(file))
        except (OSError, ValueError):
            return {}

    def is_running(self) -> bool:
        process = self.process()
        if not process or process["boot"] != boot_id():
            return False
        try:
            os.waitpid(process["pid"], os.WNOHANG)  # if it is our own child, collect it
        except OSError:
            pass
        return process["begun"] is not None and process_begun(process["pid"]) == process["begun"]

    def kill(self) -> None:
        pid = self.process()["pid"]
        for number, pause in ((signal.SIGTERM, 0.5), (signal.SIGKILL, 0.1)):
            try:
                os.killpg(pid, number)
            except OSError:
                return
            time.sleep(pause)

    def interruption(self) -> str:
        process = self.process()
        if process and process["boot"] != boot_id():
            return "the server was restarted while the plan ran; it is not run a second time"
        return "the plan was interrupted: its process ended without a result; it is not run a second time"

    def is_finished(self) -> bool:
        return self.has_result() or os.path.exists(self.path("forgotten"))

    def has_result(self) -> bool:
        return os.path.exists(self.path("result.json"))

    def result(self) -> bytes:
        try:
            with open(self.path("result.json"), "rb") as file:
                return file.read()
        except OSError:
            text = "the plan ran before; its result is no longer stored and it is not run a second time"
            return encode_result(error_result(self.plan_id, ANY_ERROR, text), self.plan_id)

    def has_output(self) -> bool:
        return os.path.exists(self.path("output"))

    def output(self, place: int) -> Tuple[List[List[str]], int]:
        """What was printed from this place of the spool on, as much as is sent at once, and where that ends."""
        texts: List[List[str]] = []
        size = 0
        with open(self.path("output"), "rb") as file:
            file.seek(place)
            for line in file:
                if not line.endswith(b"\n"):  # is being written
                    break
                script, stream, text = json.loads(line.decode("ascii"))
                if texts and size + len(text) > SHOWN_AT_ONCE:
                    break
                place += len(line)
                size += len(text)
                if texts and texts[-1][:2] == [script, stream]:
                    texts[-1][2] += text
                else:
                    texts.append([script, stream, text])
                if len(texts) >= 200:
                    break
        return texts, place

    def forget_output(self) -> None:
        try:
            os.unlink(self.path("output"))
        except OSError:
            pass

    def want_reboot(self) -> None:
        write_atomically(self.path("reboot"), boot_id().encode())

    def wants_reboot(self) -> bool:
        """Whether the server has to be restarted, and was not since the plan ended."""
        try:
            with open(self.path("reboot"), encoding="ascii") as file:
                return file.read() == boot_id()
        except OSError:
            return False

    def forget_reboot(self) -> None:
        os.unlink(self.path("reboot"))

    def is_unsent(self) -> bool:
        return self.is_finished() and os.path.exists(self.path("unsent"))

    def mark_unsent(self) -> None:
        write_atomically(self.path("unsent"), b"")

    def mark_sent(self) -> None:
        self.forget_output()
        os.unlink(self.path("unsent"))

    def forget_result(self) -> None:
        write_atomically(self.path("forgotten"), b"")
        os.unlink(self.path("result.json"))


def boot_id() -> str:
    """Changes with every boot; in a sandbox, whose boots the kernel does not count, with its first process."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            kernel = file.read().strip()
    except OSError:
        kernel = ""
    return f"{kernel}/{process_begun(1)}"


def process_begun(pid: int) -> Optional[int]:
    """The start time of a living process, None if there is none (a zombie no longer lives)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def daemonise() -> None:
    for _step in range(2):
        if os.fork():
            os._exit(0)
        os.setsid() if _step == 0 else None
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)


# ----------------------------------------------------------------------------
# Results (spec/agent-protocol.md §6)


def success_result(plan_id: str, value: object) -> Json:
    return result_message(plan_id, 0, value)


def error_result(plan_id: str, code: int, message: str, information: object = None) -> Json:
    return result_message(plan_id, code, {"Message": message, "AdditionalInfo": information})


def result_message(plan_id: str, code: int, body: object) -> Json:
    now = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    return {
        "FormatVersion": "2.0.0",
        "ID": uuid.uuid4().hex,
        "SourceID": plan_id,
        "Action": "Execution:Result",
        "ErrorCode": code,
        "Body": body,
        "Time": now,
    }


def encode_result(result: Json, plan_id: str) -> bytes:
    """The message as it is sent. Texts lose their middle, with a word that says so, until it is small enough."""
    try:
        content = json.dumps(result, default=json_value, allow_nan=False).encode("ascii")
        if len(content) > RESULT_LIMIT:
            content = shortened_result(content)
    except (TypeError, ValueError, RecursionError) as error:
        return encode_result(
            error_result(plan_id, ANY_ERROR, f"the plan's Body returned a value that JSON cannot carry: {error}"),
            plan_id,
        )
    if len(content) > RESULT_LIMIT:
        text = f"the plan's result has {len(content)} bytes, and not because of long texts; at most {RESULT_LIMIT} go"
        return encode_result(error_result(plan_id, ANY_ERROR, text), plan_id)
    return content


def shortened_result(content: bytes) -> bytes:
    value = json.loads(content.decode("ascii"))
    limit = min(OUTPUT_LIMIT * 2, longest_text(value))
    while len(content) > RESULT_LIMIT and limit > SHORTEST_TEXT:
        limit //= 2
        value = shortened(value, limit)
        content = json.dumps(value).encode("ascii")
    return content


def longest_text(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return max((longest_text(part) for part in parts), default=0)


def shortened(value: Any, limit: int) -> Any:
    if isinstance(value, str) and len(value) > limit:
        half = limit // 2
        middle = value[half:-half]
        left_out = len(middle) + sum(map(int, re.findall(r"\[\.\.\. (\d{1,18}) \w+ left out \.\.\.\]", middle)))
        return f"{value[:half]}\n[... {left_out} characters left out ...]\n{value[-half:]}"
    if isinstance(value, dict):
        return {key: shortened(item, limit) for key, item in value.items()}
    return [shortened(item, limit) for item in value] if isinstance(value, list) else value


def json_value(value: object) -> object:
    """What Python 2 bodies return as lists or text (`map`, `dict.keys`, `str`) comes out as lists or text."""
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", "replace")
    if isinstance(value, (set, frozenset)) or type(value).__name__ in (
        "map",
        "filter",
        "zip",
        "range",
        "generator",
        "dict_keys",
        "dict_values",
        "dict_items",
    ):
        return list(value)  # type: ignore[call-overload]
    raise TypeError(f"{type(value).__name__} is neither text, number, list nor dictionary")


# ----------------------------------------------------------------------------
# Running a plan


class PlanError(Exception):
    """The plan ends with this error code and message."""

    def __init__(self, code: int, message: str, information: object = None) -> None:
        super().__init__(message)
        self.code = code
        self.information = information


def execute(plan: object, plan_id: str, folder: str, spool: Optional[Spool] = None) -> Json:
    """The result message of one plan; never raises for anything a plan does. What scripts print goes to the spool."""
    try:
        checked = check_plan(plan)
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder, mode=0o700)
        files = PlanFiles(checked["Files"], folder, checked["Scripts"])
        scripts = {name: Script(name, script, files, folder, spool) for name, script in checked["Scripts"].items()}
        return success_result(plan_id, run_body(checked["Body"], checked["Parameters"], scripts))
    except PlanError as error:
        return error_result(plan_id, error.code, str(error), error.information)
    except (Exception, SystemExit, KeyboardInterrupt) as error:  # whatever the body raises is the plan's result
        return error_result(plan_id, ANY_ERROR, describe(error))


def describe(error: BaseException) -> str:
    text = str(error)
    if type(error) is not Exception or not text:
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == BODY_NAME]
    if isinstance(error, SyntaxError) and error.filename == BODY_NAME:
        return text.replace(" (" + BODY_NAME + ", ", " (").replace("(line ", "(Body line ")
    return f"{text} (Body line {lines[-1]})" if lines else text


# How a plan is checked: which format versions know what.
FORMATS = ((2, 0), (2, 1), (2, 2))
SCRIPT_TYPES = {"Application": (2, 0), "Chef": (2, 1), "Puppet": (2, 1)}
DOWNLOADABLE_SINCE = (2, 1)
BERKSHELF_SINCE = (2, 2)


# `RebootOnCompletion` of a plan, as plans for Windows have it.
NO_REBOOT, REBOOT_AFTER_SUCCESS, REBOOT = 0, 1, 2
REBOOTS = (("systemctl", "reboot"), ("shutdown", "-r", "now"), ("reboot",))


def reboots(plan: object, result: Json) -> bool:
    wanted = plan.get("RebootOnCompletion") if isinstance(plan, dict) else None
    return wanted == REBOOT or (wanted == REBOOT_AFTER_SUCCESS and result["ErrorCode"] == 0)


def check_plan(plan: object) -> Json:
    """A plan with all keys present, or PlanError 2 or 9 (spec/agent-protocol.md §5)."""
    if not isinstance(plan, dict):
        raise PlanError(FORMAT_ERROR, f"an execution plan must be an object, found {type(plan).__name__}")
    version = plan_version(plan)
    scripts = {} if plan.get("Scripts") is None else plan["Scripts"]
    files = {} if plan.get("Files") is None else plan["Files"]
    parameters = {} if plan.get("Parameters") is None else plan["Parameters"]
    body = "" if plan.get("Body") is None else plan["Body"]
    for name, value in (("Scripts", scripts), ("Files", files), ("Parameters", parameters)):
        if not isinstance(value, dict):
            raise PlanError(FORMAT_ERROR, f"{name} must be a dictionary, found {type(value).__name__}")
    if not isinstance(body, str):
        raise PlanError(FORMAT_ERROR, f"Body must be text, found {type(body).__name__}")
    if plan.get("RebootOnCompletion") not in (None, NO_REBOOT, REBOOT_AFTER_SUCCESS, REBOOT):
        raise PlanError(FORMAT_ERROR, "RebootOnCompletion must be 0 (no), 1 (if the plan succeeded) or 2 (in any case)")
    for file_id, file in files.items():
        check_file(file_id, file, version)
    for name, script in scripts.items():
        check_script(name, script, files, version)
    return {"Scripts": scripts, "Files": files, "Parameters": parameters, "Body": body}


def plan_version(plan: Json) -> Tuple[int, int]:
    text = plan.get("FormatVersion", "1.0.0")
    match = re.match(r"(\d{1,6})(?:\.(\d{1,6}))?(?:\.(\d{1,6}))?$", str(text))
    number = tuple(int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    if number[0] == 1:
        raise PlanError(
            FORMAT_ERROR,
            f"execution plans of format {text} are PowerShell commands for Windows agents; this agent runs 2.x",
        )
    if number[:2] not in FORMATS or (number[:2] == FORMATS[-1] and number[2] > 0):
        raise PlanError(VERSION_ERROR, f"FormatVersion {text} is not supported; this agent runs 2.0.0 to 2.2.0")
    return number[0], number[1]


def check_file(file_id: str, file: object, version: Tuple[int, int]) -> None:
    where = f"file '{file_id}'"
    if not isinstance(file, dict) or not isinstance(file.get("Name"), str) or not file["Name"]:
        raise PlanError(FORMAT_ERROR, where + " must be a dictionary with a Name")
    if file.get("Type") is not None:
        if file["Type"] != "Downloadable" or not isinstance(file.get("URL"), str):
            raise PlanError(FORMAT_ERROR, where + " must have Type Downloadable and a URL")
        if version < DOWNLOADABLE_SINCE:
            raise PlanError(FORMAT_ERROR, where + ": Downloadable files need FormatVersion 2.1.0 or later")
    elif file.get("BodyType") not in ("Text", "Base64") or not isinstance(file.get("Body"), str):
        raise PlanError(
            FORMAT_ERROR, where + " must have BodyType Text or Base64 and a Body, or Type Downloadable and a URL"
        )
    if not safe_path(file["Name"]):
        raise PlanError(FORMAT_ERROR, "{}: Name '{}' leaves the script's folder".format(where, file["Name"]))


def check_script(name: str, script: object, files: Json, version: Tuple[int, int]) -> None:
    where = f"script '{name}'"
    if not name.isidentifier():
        raise PlanError(FORMAT_ERROR, where + ": a script's name must be an identifier, since the Body calls it")
    if (
        not isinstance(script, dict)
        or not isinstance(script.get("Type"), str)
        or not isinstance(script.get("EntryPoint"), str)
    ):
        raise PlanError(FORMAT_ERROR, where + " must have a Type and an EntryPoint")
    if version < SCRIPT_TYPES.get(script["Type"], (99, 0)):
        known = ", ".join(sorted(kind for kind, since in SCRIPT_TYPES.items() if since <= version))
        raise PlanError(FORMAT_ERROR, "{}: Type {} is not one of {}".format(where, script["Type"], known))
    options = {} if script.get("Options") is None else script["Options"]
    needed = [] if script.get("Files") is None else script["Files"]
    if not isinstance(options, dict):
        raise PlanError(FORMAT_ERROR, where + ": Options must be a dictionary")
    if not isinstance(needed, list):
        raise PlanError(FORMAT_ERROR, where + ": Files must be a list")
    if script["Type"] == "Application" and script["EntryPoint"] not in files:
        raise PlanError(FORMAT_ERROR, "{}: EntryPoint '{}' is not in Files".format(where, script["EntryPoint"]))
    if script["Type"] != "Application" and "::" not in script["EntryPoint"]:
        raise PlanError(
            FORMAT_ERROR, "{}: EntryPoint '{}' must have the form name::name".format(where, script["EntryPoint"])
        )
    for file_id in needed:
        if not isinstance(file_id, str) or file_id not in files:
            raise PlanError(FORMAT_ERROR, f"{where}: file '{file_id}' is not in Files")
    if ("useBerkshelf" in options or "berksfilePath" in options) and (
        script["Type"] != "Chef" or version < BERKSHELF_SINCE
    ):
        raise PlanError(FORMAT_ERROR, where + ": Berkshelf options need Type Chef and FormatVersion 2.2.0")


def safe_path(name: str) -> bool:
    return "\0" not in name and not name.startswith("/") and ".." not in name.split("/")


# ----------------------------------------------------------------------------
# The Body: plain Python, with what Python 2 bodies need

BODY_NAME = "<Body>"
PY2_METHODS: Dict[str, Callable[[Any], Any]] = {
    "iteritems": lambda owner: lambda: iter(owner.items()),
    "iterkeys": lambda owner: lambda: iter(owner.keys()),
    "itervalues": lambda owner: lambda: iter(owner.values()),
    "viewitems": lambda owner: owner.items,
    "viewkeys": lambda owner: owner.keys,
    "viewvalues": lambda owner: owner.values,
    "has_key": lambda owner: owner.__contains__,
}


class AttributeDict(Dict[str, Any]):
    """`args` and script results: keys are attributes too."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(
                "there is no '{}'; there are: {}".format(name, ", ".join(sorted(map(str, self))) or "none")
            )


def run_body(text: str, parameters: Json, scripts: Dict[str, "Script"]) -> object:
    namespace: Dict[str, Any] = {
        "args": AttributeDict(parameters),
        "__name__": "__plan__",
        "__builtins__": body_builtins(),
    }
    namespace["unicode"] = namespace["basestring"] = str
    namespace.update({"xrange": range, "long": int, "_python2_method": python2_method})
    namespace.update(scripts)
    exec(compile_body(text), namespace)  # noqa: S102 - running the plan is what the agent is for
    return namespace["_body"]()


def compile_body(text: str) -> types.CodeType:
    """The text as the body of a function. Done on the syntax tree, so that line numbers and texts of several lines stay
    as they are.
    """
    module = ast.parse("def _body():\n    pass", BODY_NAME)
    tree = ast.parse(dedent(text.expandtabs(4)), BODY_NAME)
    if tree.body:
        module.body[0].body = Python2Methods().visit(tree).body  # type: ignore[attr-defined]
    return compile(ast.fix_missing_locations(module), BODY_NAME, "exec")


def dedent(text: str) -> str:
    lines = text.split("\n")
    widths = [len(line) - len(line.lstrip()) for line in lines if line.strip() and not line.lstrip().startswith("#")]
    margin = min(widths) if widths else 0
    return "\n".join(line[margin:] if not line[:margin].strip() else line.lstrip() for line in lines) + "\n"


class Python2Methods(ast.NodeTransformer):
    """`x.iteritems` becomes `_python2_method(x, 'iteritems')`, for dictionaries of every origin."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        if node.attr not in PY2_METHODS or not isinstance(node.ctx, ast.Load):
            return node
        method = ast.parse(repr(node.attr), mode="eval").body  # ast.Str up to Python 3.7, ast.Constant since
        function = ast.Name(id="_python2_method", ctx=ast.Load())
        call = ast.Call(func=function, args=[node.value, method], keywords=[])
        for part in (method, function, call):
            ast.copy_location(part, node)
        return call


def python2_method(owner: Any, name: str) -> Any:
    if isinstance(owner, dict) and not hasattr(owner, name):
        return PY2_METHODS[name](owner)
    return getattr(owner, name)


def body_builtins() -> Dict[str, Any]:
    shimmed = dict(vars(builtins))
    shims = {"base64": base64_shim, "yaml": yaml_shim}

    def body_import(name: str, *arguments: Any, **named: Any) -> Any:
        return shims[name]() if name in shims else builtins.__import__(name, *arguments, **named)

    shimmed["__import__"] = body_import
    return shimmed


class CodedBytes(bytes):
    """Bytes that print as their text, as they did in Python 2."""

    def __str__(self) -> str:
        return self.decode("utf-8", "replace")

    def __format__(self, specification: str) -> str:
        return format(str(self), specification)


class CodedText(str):
    """Text that can be decoded, as it could in Python 2."""

    def decode(self, *_arguments: Any) -> str:
        return str(self)


def base64_shim() -> types.ModuleType:
    """base64 whose coding functions take text where Python 2 did; text in gives text out."""
    shim = types.ModuleType("base64")
    shim.__dict__.update(vars(base64))

    def coder(function: Callable[..., bytes], gives_text: bool) -> Callable[..., Any]:
        def code(value: Any, *arguments: Any, **named: Any) -> Any:
            if isinstance(value, str):
                result = function(value.encode("utf-8"), *arguments, **named)
                return CodedText(result.decode("ascii")) if gives_text else CodedBytes(result)
            return CodedBytes(function(value, *arguments, **named))

        return code

    for name in ("b64encode", "standard_b64encode", "urlsafe_b64encode", "b32encode", "b16encode", "encodebytes"):
        setattr(shim, name, coder(getattr(base64, name), True))
    for name in ("b64decode", "standard_b64decode", "urlsafe_b64decode", "b32decode", "b16decode", "decodebytes"):
        setattr(shim, name, coder(getattr(base64, name), False))
    shim.encodestring = shim.encodebytes  # type: ignore[attr-defined]
    shim.decodestring = shim.decodebytes  # type: ignore[attr-defined]
    return shim


def yaml_shim() -> types.ModuleType:
    """PyYAML of the server, where `yaml.load(x)` needs no Loader."""
    try:
        yaml: Any = importlib.import_module("yaml")
    except ImportError:
        raise ImportError("the plan imports yaml; install PyYAML (python3-yaml) on this server")
    shim = types.ModuleType("yaml")
    shim.__dict__.update(vars(yaml))
    shim.load = lambda stream, Loader=yaml.SafeLoader: yaml.load(stream, Loader)  # type: ignore[attr-defined]
    shim.load_all = lambda stream, Loader=yaml.SafeLoader: yaml.load_all(stream, Loader)  # type: ignore[attr-defined]
    return shim


# ----------------------------------------------------------------------------
# Files and scripts


class PlanFiles:
    """`<folder>/<file id>` holds the content, `<folder>/<script>/<Name>` links to it."""

    def __init__(self, files: Json, folder: str, scripts: Json) -> None:
        self.files = files
        self.folder = folder
        self.taken = frozenset(scripts)  # names of the scripts' own folders

    def name(self, file_id: str) -> str:
        return str(self.files[file_id]["Name"])

    def content_name(self, file_id: str) -> str:
        if is_plain_name(file_id) and file_id not in self.taken:
            return file_id
        return "file-" + hashlib.sha256(file_id.encode("utf-8", "surrogatepass")).hexdigest()

    def put(self, file_id: str, script_folder: str) -> str:
        """The path of the link."""
        file = self.files[file_id]
        content = os.path.join(self.folder, self.content_name(file_id))
        if not os.path.lexists(content):
            if file.get("Type") == "Downloadable":
                Download(file["URL"], file["Name"], content).fetch()
            else:
                write_content(file, content)
        link = os.path.join(script_folder, file["Name"])
        os.makedirs(os.path.dirname(link), mode=0o700, exist_ok=True)
        if not os.path.lexists(link):
            os.symlink(content, link)
        return link


def is_plain_name(text: str) -> bool:
    return re.match(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}$", text) is not None


def write_content(file: Json, path: str) -> None:
    if file["BodyType"] == "Base64":
        try:
            content = base64.b64decode(file["Body"])
        except ValueError as error:
            raise PlanError(FORMAT_ERROR, "file '{}' is not Base64: {}".format(file["Name"], error))
    else:
        content = file["Body"].encode("utf-8", "surrogatepass")
    with open(path, "wb") as target:
        target.write(content)


class Download:
    """A file from the network into a folder: a git clone, an svn checkout or a plain download."""

    def __init__(self, url: str, name: str, folder: str) -> None:
        self.url, self.name, self.folder = url, name, folder
        self.parts = urllib.parse.urlsplit(url)

    def fetch(self) -> None:
        partial = self.folder + ".part"
        shutil.rmtree(partial, ignore_errors=True)
        os.makedirs(partial, mode=0o700)
        scheme, path = self.parts.scheme, self.parts.path
        if scheme == "git" or scheme.startswith("git+http") or path.endswith(".git"):
            self.run("git", "clone", "--", self.url[4:] if scheme.startswith("git+") else self.url, partial)
        elif scheme == "svn" or "/svn/" in path:
            self.run("svn", "checkout", "--non-interactive", "--", self.url, partial)
        elif scheme in ("http", "https"):
            self.download(os.path.join(partial, os.path.basename(path) or self.name))
        else:
            raise PlanError(FORMAT_ERROR, f"file '{self.name}': URL {self.url} must be http, https, git or svn")
        os.rename(partial, self.folder)

    def run(self, *command: str) -> None:
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        except OSError as error:
            raise PlanError(ANY_ERROR, f"file '{self.name}' needs the program {command[0]}: {error}")
        if done.returncode:
            raise PlanError(
                ANY_ERROR,
                "file '{}' cannot be fetched from {}: {}".format(
                    self.name, self.url, done.stdout.decode("utf-8", "replace")[-2000:]
                ),
            )

    def download(self, path: str) -> None:
        try:
            with urllib.request.urlopen(self.url, timeout=60) as source, open(path, "wb") as target:
                size = 0
                for block in iter(lambda: source.read(1 << 20), b""):
                    size += len(block)
                    if size > DOWNLOAD_LIMIT:
                        raise PlanError(
                            ANY_ERROR, f"file '{self.name}' from {self.url} has more than {DOWNLOAD_LIMIT} bytes"
                        )
                    target.write(block)
        except (OSError, ValueError) as error:
            raise PlanError(ANY_ERROR, f"file '{self.name}' cannot be fetched from {self.url}: {error}")


# Programs that scripts of a type need: where they are beside PATH, and how they get there.
TOOL_FOLDERS = ("/opt/puppetlabs/bin", "/opt/chef/bin", "/opt/cinc/bin", "/opt/chef-workstation/bin")
TOOLS = {
    "puppet": (("puppet",), "the package puppet-agent (or puppet)"),
    "chef-solo": (("chef-solo", "cinc-solo"), "the package chef or cinc"),
    "berks": (("berks",), "the package chef-workstation, or the Ruby gem berkshelf"),
}


def tool(name: str, script: str) -> str:
    """The path of an installed program, fit for a shell."""
    programs, package = TOOLS[name]
    folders = os.pathsep.join([os.environ.get("PATH", os.defpath), *TOOL_FOLDERS])
    for program in programs:
        found = shutil.which(program, path=folders)
        if found:
            return shell_quote(found)
    raise PlanError(
        SCRIPT_ERROR, f"Script {script} needs the program {name}, which is not on this server; install {package}"
    )


class Script:
    """What a Body calls: `name(...)` or `name.function(...)`. Its files are put in place at the first call."""

    def __init__(self, name: str, script: Json, files: PlanFiles, folder: str, spool: Optional[Spool]) -> None:
        self._name = name
        self._script = script
        self._files = files
        self._folder = os.path.join(folder, name)
        self._spool = spool
        self._options = script.get("Options") or {}
        self._loaded = False

    def __call__(self, *arguments: Any, **named: Any) -> AttributeDict:
        self._load()

        runners: Dict[str, Callable[..., AttributeDict]] = {
            "Application": self._application,
            "Chef": self._chef,
            "Puppet": self._puppet,
        }
        here = os.getcwd()
        try:
            return runners[self._script["Type"]](*arguments, **named)
        finally:
            os.chdir(here)

    def __getattr__(self, name: str) -> "Script":
        if name.startswith("_"):
            raise AttributeError(name)
        return self

    def _load(self) -> None:
        if self._loaded:
            return
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        for file_id in self._script.get("Files") or []:
            self._files.put(file_id, self._folder)
        if self._script["Type"] == "Application":
            self._files.put(self._script["EntryPoint"], self._folder)
        self._loaded = True

    def _application(self, commandline: Any = "", input: Any = None) -> AttributeDict:
        path = os.path.join(self._folder, self._files.name(self._script["EntryPoint"]))
        os.chmod(path, stat.S_IRUSR | stat.S_IXUSR)
        command = f'./"{os.path.basename(path)}" {commandline}'
        return self._run(command, os.path.dirname(path), input)

    def _chef(self, attributes: Optional[Json] = None) -> AttributeDict:
        cookbook, recipe = self._script["EntryPoint"].split("::", 1)
        cookbooks = self._folder
        if not os.path.isdir(os.path.join(cookbooks, cookbook)):
            raise PlanError(
                SCRIPT_ERROR, f"Script {self._name}: the cookbook '{cookbook}' of its EntryPoint is not in its Files"
            )
        if self._options.get("useBerkshelf"):
            cookbooks = self._berkshelf(cookbook)
        recipe_name = "{}::{}".format(cookbook, recipe or "default")
        node = {"run_list": [f"recipe[{recipe_name}]"], cookbook: attributes or {}}
        with open(os.path.join(self._folder, "solo.rb"), "w") as file:
            file.write(f"cookbook_path {json.dumps(cookbooks)}\n")
        with open(os.path.join(self._folder, "node.json"), "w") as file:
            json.dump(node, file)
        return self._run(tool("chef-solo", self._name) + " -j node.json -c solo.rb", self._folder)

    def _berkshelf(self, cookbook: str) -> str:
        berksfile = os.path.join(
            self._folder, self._options.get("berksfilePath") or os.path.join(cookbook, "Berksfile")
        )
        if not os.path.isfile(berksfile):
            raise PlanError(
                SCRIPT_ERROR,
                f"Script {self._name}: there is no Berksfile at {os.path.relpath(berksfile, self._folder)}",
            )
        vendored = os.path.join(self._folder, "berks-cookbooks")
        done = self._process(
            f"{tool('berks', self._name)} vendor --berksfile={shell_quote(berksfile)} {shell_quote(vendored)}",
            self._folder,
            None,
        )
        if done["exitCode"]:
            raise PlanError(SCRIPT_ERROR, f"Script {self._name}: berks vendor failed", done)
        return vendored

    def _puppet(self, attributes: Optional[Json] = None) -> AttributeDict:
        module, name = self._script["EntryPoint"].split("::", 1)
        class_name = f"{module}::{name}" if name else module
        write = {"manifest.pp": f"node 'default' {{\n  class {{ '{class_name}': }}\n}}\n"}
        if attributes:
            write["default.yaml"] = "".join(
                "{}: {}\n".format(json.dumps(f"{class_name}::{key}"), json.dumps(value))
                for key, value in attributes.items()
            )
        if not os.path.exists(os.path.join(self._folder, "hiera.yaml")):
            write["hiera.yaml"] = (
                "---\nversion: 5\nhierarchy:\n  - name: plan\n    path: default.yaml\n"
                f"    datadir: {json.dumps(self._folder)}\n"
            )
        for file_name, content in write.items():
            with open(os.path.join(self._folder, file_name), "w") as file:
                file.write(content)
        program = tool("puppet", self._name)
        command = f"{program} apply --hiera_config=hiera.yaml --modulepath {shell_quote(self._folder)} manifest.pp"
        return self._run(command, self._folder, puppet=True)

    def _run(self, command: str, folder: str, input_text: Any = None, puppet: bool = False) -> AttributeDict:
        result = self._process(command, folder, input_text)
        if puppet and result["stdout"] is not None:
            errors = [
                line
                for line in result["stdout"].splitlines()
                if line.lower().startswith(("error:", "\x1b[1;31merror:"))
            ]
            result["stderr"] = "\n".join([result["stderr"] or "", *errors]).strip() if errors else result["stderr"]
        if result["exitCode"] and self._options.get("verifyExitcode", True) not in (False, None):
            raise PlanError(SCRIPT_ERROR, f"Script {self._name} returned error code", result)
        return result

    def _process(self, command: str, folder: str, input_text: Any) -> AttributeDict:
        out, err = (self._options.get(name, True) not in (False, None) for name in ("captureStdout", "captureStderr"))
        content = (
            b""
            if input_text is None
            else input_text
            if isinstance(input_text, bytes)
            else str(input_text).encode("utf-8")
        )
        process = subprocess.Popen(  # noqa: S602 - a plan's command line is a shell command
            command,
            shell=True,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if out else subprocess.DEVNULL,
            stderr=subprocess.PIPE if err else subprocess.DEVNULL,
        )
        readers = [
            Reader(pipe, Line(self._spool, self._name, stream)) if pipe is not None else None
            for stream, pipe in (("stdout", process.stdout), ("stderr", process.stderr))
        ]
        feeder = threading.Thread(target=feed, args=(process.stdin, content), daemon=True)
        feeder.start()
        code = process.wait()
        deadline = time.monotonic() + OUTPUT_GRACE
        texts = [reader.text(deadline) if reader is not None else None for reader in readers]
        return AttributeDict(exitCode=code, stdout=texts[0], stderr=texts[1])


def shell_quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def feed(pipe: Any, content: bytes) -> None:
    try:
        pipe.write(content)
        pipe.close()
    except OSError:  # the script did not want it
        pass


class Line:
    """Puts what comes from a pipe into the spool, line by line."""

    def __init__(self, spool: Optional[Spool], script: str, stream: str) -> None:
        self.spool = spool
        self.script, self.stream = script, stream
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.text = ""

    def add(self, block: bytes, is_last: bool = False) -> None:
        if self.spool is None:
            return
        self.text += self.decoder.decode(block, is_last)
        end = max(self.text.rfind("\n"), self.text.rfind("\r")) + 1
        if is_last or len(self.text) - end > SHOWN_LINE:
            end = len(self.text)
        if end:
            self.spool.add(self.script, self.stream, self.text[:end])
            self.text = self.text[end:]


class Reader(threading.Thread):
    """Reads a pipe to its end, keeping the beginning and the end of what is too long."""

    def __init__(self, pipe: IO[bytes], line: Line) -> None:
        super().__init__(daemon=True)
        self.pipe = pipe
        self.line = line
        self.head = bytearray()
        self.tail = bytearray()
        self.dropped = 0
        self.lock = threading.Lock()
        self.start()

    def run(self) -> None:
        for block in self.blocks():
            self.line.add(block)
            with self.lock:
                room = OUTPUT_LIMIT // 2 - len(self.head)
                self.head += block[: max(room, 0)]
                self.tail += block[max(room, 0) :]
                excess = len(self.tail) - OUTPUT_LIMIT // 2
                if excess > 0:
                    del self.tail[:excess]
                    self.dropped += excess
        self.line.add(b"", True)

    def blocks(self) -> Iterator[bytes]:
        while True:
            try:
                block = os.read(self.pipe.fileno(), 65536)
            except (OSError, ValueError):
                return
            if not block:
                return
            yield block

    def text(self, deadline: float) -> str:
        self.join(max(0.0, deadline - time.monotonic()))
        with self.lock:
            middle = f"\n[... {self.dropped} bytes left out ...]\n".encode() if self.dropped else b""
            return (bytes(self.head) + middle + bytes(self.tail)).decode("utf-8", "replace").strip()


if __name__ == "__main__":
    sys.exit(main())
