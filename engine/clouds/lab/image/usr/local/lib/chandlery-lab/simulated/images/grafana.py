"""Grafana, simulated: login, health, organisation, data sources (API and provisioning files) and the data source proxy
to InfluxDB.
"""

from __future__ import annotations

import base64
import glob
import hashlib
import hmac
import html
import http.client
import json
import os
import re
import secrets
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

from simulated import NOTICE
from simulated.images import serving

PROVISIONING = "/etc/grafana/provisioning/datasources"
PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Grafana (simulated)</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>
body{{font-family:system-ui,sans-serif;max-width:36rem;margin:8vh auto;padding:0 1rem;background:#111217}}
body{{color:#d8d9da}} a{{color:#ff9830}} table{{width:100%;text-align:left}}
input,button{{display:block;width:100%;padding:.6rem;margin:.4rem 0;box-sizing:border-box}}
.note{{border-left:4px solid #ff9830;padding:.4rem .8rem;background:#22252b}}
</style></head><body><h1>Grafana</h1>
<p class="note">This is <strong>simulated by the Chandlery lab</strong>: a small program that answers like
Grafana {version}. On a real cloud this is the real one.</p>{content}</body></html>
"""


class State:
    """Data sources by id, sessions of logged-in browsers."""

    def __init__(self, version: str, user: str, password: str) -> None:
        self.version, self.user, self.password = version, user, password
        self.lock = threading.RLock()
        self.sources: dict[int, dict] = {}
        self.sessions: set[str] = set()

    def add(self, wanted: dict, read_only: bool = False) -> dict:
        with self.lock:
            number = max(self.sources, default=0) + 1
            source = {
                "id": number,
                "uid": wanted.get("uid") or "P" + hashlib.sha256(wanted["name"].encode()).hexdigest()[:16].upper(),
                "orgId": 1,
                "access": "proxy",
                "url": "",
                "user": "",
                "database": "",
                "basicAuth": False,
                "isDefault": not self.sources,
                "jsonData": {},
                "version": 1,
                **{name: value for name, value in wanted.items() if name in ALLOWED},
                "readOnly": read_only,
            }
            if source["isDefault"]:
                for other in self.sources.values():
                    other["isDefault"] = False
            self.sources[number] = source
            return source

    def find(self, key: str, value: str) -> dict | None:
        return next((source for source in self.sources.values() if str(source[key]) == value), None)


ALLOWED = (
    *("name", "type", "access", "url", "user", "password", "database", "basicAuth", "basicAuthUser"),
    *("basicAuthPassword", "isDefault", "jsonData", "secureJsonData", "withCredentials"),
)
SECRET = ("password", "basicAuthPassword", "secureJsonData")


def shown(source: dict) -> dict:
    """Without secrets, which Grafana only names."""
    fields = dict.fromkeys(source.get("secureJsonData") or {}, True)
    return {
        **{name: value for name, value in source.items() if name not in SECRET},
        "secureJsonFields": fields,
        "typeName": source["type"],
    }


class Handler(serving.Handler):
    """The calls of Grafana's HTTP API that set-ups use."""

    server_version = "Grafana-simulated"
    state: State

    def do_GET(self) -> None:
        path, query = self.split()
        if path == "/api/health":
            return self.answer(200, {"commit": NOTICE, "database": "ok", "version": self.state.version})
        if path == "/login":
            return self.page(LOGIN)
        if path.startswith("/api/"):
            return self.api(path, query, b"")
        if not self.is_known():
            return self.answer(302, b"", Location="/login")
        if path == "/logout":
            return self.answer(302, b"", Location="/login", Set_Cookie="grafana_session=; Max-Age=0; Path=/")
        self.page(self.home()) if path == "/" else self.answer(404, {"message": "Not found"})

    do_HEAD = do_GET

    def do_POST(self) -> None:
        path, query = self.split()
        content = self.body()
        self.login(content) if path == "/login" else self.api(path, query, content)

    def do_PUT(self) -> None:
        path, query = self.split()
        self.api(path, query, self.body())

    do_DELETE = do_PUT

    def page(self, content: str) -> None:
        self.answer(
            200, PAGE.format(version=html.escape(self.state.version), content=content), "text/html; charset=utf-8"
        )

    def home(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(source['name'])}</td><td>{html.escape(source['type'])}</td><td>{html.escape(source['url'])}</td>"
            f"<td>{'works' if reachable(source) else 'not reachable'}</td></tr>"
            for source in self.state.sources.values()
        )
        head = "<tr><th>Name<th>Type<th>URL<th>State</tr>"
        return f"<h2>Data sources</h2><table>{head}{rows}</table><p><a href='/logout'>Sign out</a></p>"

    def login(self, content: bytes) -> None:
        text = content.decode("utf-8", "replace")
        is_form = "json" not in self.headers.get("Content-Type", "")
        try:
            values = dict(urllib.parse.parse_qsl(text)) if is_form else json.loads(text or "{}")
        except ValueError:
            values = {}
        if not isinstance(values, dict) or not self.is_right(str(values.get("user")), str(values.get("password"))):
            self.page(LOGIN_AGAIN) if is_form else self.answer(401, {"message": "Invalid username or password"})
            return
        session = secrets.token_urlsafe(24)
        self.state.sessions.add(session)
        cookie = f"grafana_session={session}; Path=/; HttpOnly; SameSite=Lax"
        self.answer(302, b"", Location="/", Set_Cookie=cookie) if is_form else self.answer(
            200, {"message": "Logged in"}, Set_Cookie=cookie
        )

    def is_right(self, user: str, password: str) -> bool:
        return user == self.state.user and hmac.compare_digest(password.encode(), self.state.password.encode())

    def is_known(self) -> bool:
        basic = self.basic()
        if basic is not None:
            return self.is_right(*basic)
        match = re.search(r"grafana_session=([\w-]+)", self.headers.get("Cookie", ""))
        return match is not None and match[1] in self.state.sessions

    def api(self, path: str, query: dict[str, str], content: bytes) -> None:
        if not self.is_known():
            return self.answer(401, {"message": "Unauthorized"}, WWW_Authenticate='Basic realm="Grafana"')
        if path == "/api/org":
            return self.answer(200, {"id": 1, "name": "Main Org."})
        if path == "/api/user":
            return self.answer(200, {"id": 1, "login": self.state.user, "isGrafanaAdmin": True})
        match = re.fullmatch(r"/api/datasources/proxy/(?:uid/)?([^/]+)(/.*)?", path)
        if match:
            return self.proxy(self.state.find("uid" if "/uid/" in path else "id", match[1]), match[2] or "/", content)
        match = re.fullmatch(r"/api/datasources(?:/(uid|name|id)/([^/]+?)|/(\d+))?(/health)?", path)
        if match is None:
            return self.answer(404, {"message": f"Not found; {path} is not simulated"})
        if match[1] or match[3]:
            found = self.state.find(match[1] or "id", urllib.parse.unquote(match[2] or match[3]))
            return self.source(found, content, bool(match[4]))
        self.sources(content)

    def sources(self, content: bytes) -> None:
        if self.command in ("GET", "HEAD"):
            return self.answer(200, [shown(source) for source in self.state.sources.values()])
        wanted = self.wanted(content)
        if wanted is None:
            return None
        with self.state.lock:
            if self.state.find("name", wanted["name"]):
                return self.answer(409, {"message": "data source with the same name already exists"})
            source = self.state.add(wanted)
        self.answer(
            200,
            {"id": source["id"], "name": source["name"], "message": "Datasource added", "datasource": shown(source)},
        )

    def source(self, source: dict | None, content: bytes, health: bool) -> None:
        if source is None:
            return self.answer(404, {"message": "Data source not found"})
        if health:
            works = reachable(source)
            return self.answer(
                200 if works else 400,
                {
                    "status": "OK" if works else "ERROR",
                    "message": "datasource is working. 0 measurements found" if works else "not reachable",
                },
            )
        if self.command in ("GET", "HEAD"):
            return self.answer(200, shown(source))
        if source["readOnly"]:
            return self.answer(403, {"message": "Cannot change read-only data source: it is provisioned by a file"})
        if self.command == "DELETE":
            del self.state.sources[source["id"]]
            return self.answer(200, {"message": "Data source deleted", "id": source["id"]})
        wanted = self.wanted(content)
        if wanted is not None:
            source.update(
                {name: value for name, value in wanted.items() if name in ALLOWED}, version=source["version"] + 1
            )
            self.answer(
                200,
                {
                    "id": source["id"],
                    "name": source["name"],
                    "message": "Datasource updated",
                    "datasource": shown(source),
                },
            )

    def wanted(self, content: bytes) -> dict | None:
        try:
            value = json.loads(content or b"{}")
        except ValueError:
            value = None
        if isinstance(value, dict) and all(
            isinstance(value.get(name), str) and value[name] for name in ("name", "type")
        ):
            return value
        self.answer(400, {"message": "bad request data: a JSON object with name and type is needed"})
        return None

    def proxy(self, source: dict | None, rest: str, content: bytes) -> None:
        if source is None:
            return self.answer(404, {"message": "Data source not found"})
        query = self.path.partition("?")[2]
        url = source["url"].rstrip("/") + rest + ("?" + query if query else "")
        status, body, kind = forward(source, url, self.command, content, self.headers.get("Content-Type"))
        self.answer(status, body, kind)


def forward(source: dict, url: str, method: str, content: bytes, kind: str | None) -> tuple[int, bytes, str]:
    """The request as Grafana's proxy sends it: with the data source's own credentials."""
    if not url.startswith(("http://", "https://")):
        return 502, json.dumps({"message": f"Bad gateway: {url} is no HTTP address"}).encode(), "application/json"
    request = urllib.request.Request(url, data=content or None, method=method)  # noqa: S310 - checked above
    if kind:
        request.add_header("Content-Type", kind)
    secure = source.get("secureJsonData") or {}
    user, password = source.get("user"), secure.get("password") or source.get("password") or ""
    if source.get("basicAuth"):
        user, password = (
            source.get("basicAuthUser"),
            secure.get("basicAuthPassword") or source.get("basicAuthPassword") or "",
        )
    if user:
        request.add_header("Authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as answer:
            return answer.status, answer.read(), answer.headers.get("Content-Type", "text/plain")
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers.get("Content-Type", "text/plain")
    except (OSError, ValueError, http.client.HTTPException) as error:
        return 502, json.dumps({"message": f"Bad gateway: {error}"}).encode(), "application/json"


def reachable(source: dict) -> bool:
    return bool(source["url"]) and forward(source, source["url"].rstrip("/") + "/ping", "GET", b"", None)[0] < 400


LOGIN = (
    "<h2>Welcome to Grafana</h2><form method='post' action='/login'>"
    "<label>User<input name='user' autocomplete='username'></label>"
    "<label>Password<input name='password' type='password' autocomplete='current-password'></label>"
    "<button>Log in</button></form>"
)
LOGIN_AGAIN = "<p role='alert'>Invalid username or password</p>" + LOGIN


def provisioned(folder: str) -> list[dict]:
    """The data sources of the provisioning files. They must be JSON, which is YAML."""
    found = []
    for name in sorted(
        glob.glob(os.path.join(glob.escape(folder), "*.y*ml")) + glob.glob(os.path.join(glob.escape(folder), "*.json"))
    ):
        with open(name, encoding="utf-8") as file:
            text = file.read()
        try:
            sources = json.loads(text)["datasources"]
        except (ValueError, KeyError, TypeError) as error:
            print(
                f"{name}: provisioning file skipped; this simulation takes JSON with 'datasources' ({error!r})",
                flush=True,
            )
            continue
        found += [source for source in map(expanded, sources) if isinstance(source, dict) and source.get("name")]
    return [source for source in found if source.get("type")]


def expanded(value: object) -> object:
    """Texts of provisioning files: `$NAME` and `${NAME}` are variables, `$$` is a dollar, as Grafana reads them."""
    if isinstance(value, str):
        return re.sub(
            r"\$(?:(\$)|(\w+)|\{(\w+)\})", lambda match: match[1] or os.environ.get(match[2] or match[3], ""), value
        )
    if isinstance(value, list):
        return [expanded(entry) for entry in value]
    return {key: expanded(entry) for key, entry in value.items()} if isinstance(value, dict) else value


def main() -> None:
    environment = os.environ
    tag = environment.get("CHANDLERY_LAB_IMAGE", "").rpartition("/")[2].partition(":")[2]
    version = tag if re.match(r"\d+\.", tag) else "11.4.0"
    user, password = (
        environment.get("GF_SECURITY_ADMIN_USER") or "admin",
        environment.get("GF_SECURITY_ADMIN_PASSWORD") or "admin",
    )
    Handler.state = State(version, user, password)
    for source in provisioned(serving.tree_path(PROVISIONING)):
        Handler.state.add(source, read_only=not source.get("editable"))
    print(time.strftime("%FT%TZ", time.gmtime()), len(Handler.state.sources), "data sources provisioned", flush=True)
    serving.serve(f"Grafana {version}", Handler, int(environment.get("GF_SERVER_HTTP_PORT") or 3000))


if __name__ == "__main__":
    main()
