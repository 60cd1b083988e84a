"""InfluxDB 1.x, simulated: /ping, /health, /write (line protocol), /query with the statements that set-ups and
dashboards use.

Points are kept in memory, and written to /var/lib/influxdb when a volume is mounted there.
"""

from __future__ import annotations

import datetime
import hmac
import json
import operator
import os
import re
import threading
import time
import urllib.parse
from collections.abc import Callable
from typing import Any

from simulated import NOTICE
from simulated.images import serving

VERSION = "1.8.10"
POINTS = 100_000  # kept per measurement; older ones go
UNITS = {
    "n": 1,
    "ns": 1,
    "u": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
    "d": 86400 * 10**9,
}
UNITS["w"] = 7 * UNITS["d"]


class Databases:
    """Database -> measurement -> points `(time, tags, fields)` in order of time."""

    def __init__(self, folder: str) -> None:
        self.lock = threading.RLock()
        self.points: dict[str, dict[str, list[tuple[int, dict, dict]]]] = {}
        self.users: dict[str, tuple[str, bool]] = {}
        self.journal = open(os.path.join(folder, "journal.json"), "a+") if os.path.isdir(folder) else None  # noqa: SIM115
        if self.journal:
            self.journal.seek(0)
            for line in self.journal:
                name, text = json.loads(line)
                self.create(name, again=True)
                if text is not None:
                    self.write(name, text, 1, again=True)

    def create(self, name: str, again: bool = False) -> None:
        with self.lock:
            if name not in self.points:
                self.points[name] = {}
                self.keep(name, None, again)

    def keep(self, name: str, text: str | None, again: bool) -> None:
        if self.journal and not again:
            self.journal.write(json.dumps([name, text]) + "\n")
            self.journal.flush()

    def write(self, name: str, text: str, unit: int, again: bool = False) -> None:
        parsed = [parse_line(line, unit) for line in text.splitlines() if line.strip() and not line.startswith("#")]
        with self.lock:
            for measurement, point in parsed:
                series = self.points[name].setdefault(measurement, [])
                series.append(point)
                if len(series) > 1 and series[-2][0] > point[0]:
                    series.sort(key=lambda item: item[0])
                del series[:-POINTS]
            self.keep(name, text, again)


class Wrong(Exception):
    """A statement or line that cannot be understood."""


def parse_line(line: str, unit: int) -> tuple[str, tuple[int, dict, dict]]:
    """`measurement,tag=value field=1.5,other="text" 1434055562000000000`."""
    parts = re.findall(r'(?:"(?:[^"\\]|\\.)*"|\\.|[^\s\\"])+', line.strip())
    if len(parts) not in (2, 3):
        raise Wrong(f"unable to parse '{line}': missing fields")
    names = [re.sub(r"\\(.)", r"\1", part) for part in re.split(r"(?<!\\),", parts[0])]
    tags = dict(tag.partition("=")[::2] for tag in names[1:])
    fields = {}
    for field in re.findall(r'((?:\\.|[^=,\\])+)=("(?:[^"\\]|\\.)*"|[^,]*)', parts[1]):
        fields[re.sub(r"\\(.)", r"\1", field[0])] = field_value(field[1], line)
    if not fields:
        raise Wrong(f"unable to parse '{line}': invalid field format")
    if len(parts) == 3 and not re.fullmatch(r"-?\d{1,19}", parts[2]):
        raise Wrong(f"unable to parse '{line}': bad timestamp")
    return names[0], (int(parts[2]) * unit if len(parts) == 3 else time.time_ns(), tags, fields)


def field_value(text: str, line: str) -> object:
    if text.startswith('"'):
        return re.sub(r'\\(["\\])', r"\1", text[1:-1])
    if text in ("t", "T", "true", "True", "TRUE", "f", "F", "false", "False", "FALSE"):
        return text[0] in "tT"
    try:
        return int(text[:-1]) if text.endswith(("i", "u")) else float(text)
    except ValueError:
        raise Wrong(f"unable to parse '{line}': invalid number") from None


COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<>": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}
NAME = r'(?:"((?:[^"\\]|\\.)+)"|([A-Za-z_][\w-]*))'
PART = r'(?:"(?:[^"\\]|\\.)+"|[A-Za-z_][\w-]*)'  # of `measurement`, `"policy"."measurement"`, `database..measurement`
AGGREGATES: dict[str, Callable[[list], object]] = {
    "count": len,
    "sum": sum,
    "mean": lambda values: sum(values) / len(values),
    "min": min,
    "max": max,
    "first": lambda values: values[0],
    "last": lambda values: values[-1],
}


def run(statement: str, database: str | None, store: Databases) -> dict:
    """One InfluxQL statement's result object."""
    text = statement.strip()
    for pattern, action in STATEMENTS:
        match = re.fullmatch(pattern, text, re.IGNORECASE | re.DOTALL)
        if match:
            with store.lock:
                return action(store, database, *[group for group in match.groups() if group is not None])
    raise Wrong(f"error parsing query: '{text[:200]}' is not among the statements that this simulation knows")


def create_database(store: Databases, _database: str | None, name: str, *_more: str) -> dict:
    store.create(name)
    return {}


def drop_database(store: Databases, _database: str | None, name: str) -> dict:
    store.points.pop(name, None)
    return {}


def show_databases(store: Databases, _database: str | None) -> dict:
    names = sorted({"_internal", *store.points})
    return {"series": [{"name": "databases", "columns": ["name"], "values": [[name] for name in names]}]}


def show_measurements(store: Databases, database: str | None, *_more: str) -> dict:
    names = sorted(of(store, database))
    return (
        {"series": [{"name": "measurements", "columns": ["name"], "values": [[name] for name in names]}]}
        if names
        else {}
    )


def show_keys(store: Databases, database: str | None, kind: str, *measurement: str) -> dict:
    series = []
    for name, points in sorted(of(store, database).items()):
        if measurement and name != measurement[0]:
            continue
        position, column = (1, "tagKey") if kind.lower() == "tag" else (2, "fieldKey")
        keys = {key: "float" for point in points for key in point[position]}
        values = [[key] if position == 1 else [key, kinds(points, key)] for key in sorted(keys)]
        if values:
            series.append({"name": name, "columns": [column, "fieldType"][:position], "values": values})
    return {"series": series} if series else {}


def kinds(points: list, key: str) -> str:
    value = next(point[2][key] for point in points if key in point[2])
    return {bool: "boolean", int: "integer", float: "float", str: "string"}[type(value)]


def show_users(store: Databases, _database: str | None) -> dict:
    values = [[name, admin] for name, (_password, admin) in sorted(store.users.items())]
    return {"series": [{"columns": ["user", "admin"], "values": values}]}


def create_user(store: Databases, _database: str | None, name: str, password: str, *more: str) -> dict:
    store.users[name] = (password, bool(more))
    return {}


def grant(_store: Databases, _database: str | None, *_what: str) -> dict:
    return {}


def select(store: Databases, database: str | None, what: str, measurement: str, rest: str = "") -> dict:
    """`SELECT field[, ...] | * | aggregate(field)[, ...] FROM m [WHERE ...] [GROUP BY time(10s)] [ORDER BY time DESC]
    [LIMIT n]`.
    """
    match = re.fullmatch(
        r"\s*(?:WHERE\s+(?P<where>.*?))?\s*(?:GROUP\s+BY\s+time\(\s*(?P<step>\w+)\s*\)(?:\s*,\s*[\w\"*]+)*)?\s*(?:fill\(\w+\))?"
        r"\s*(?P<down>ORDER\s+BY\s+time\s+DESC|ORDER\s+BY\s+time(?:\s+ASC)?)?\s*(?:LIMIT\s+(?P<limit>\d+))?\s*(?:tz\(.*\))?\s*",
        rest,
        re.IGNORECASE | re.DOTALL,
    )
    if match is None:
        raise Wrong(f"error parsing query: '{rest.strip()}' is more than this simulation knows")
    parts = [part.strip('"') for part in re.findall(PART, measurement)]
    qualified = len(parts) == 3 or ".." in measurement
    measurement = parts[-1]
    points = of(store, parts[0] if qualified else database).get(measurement, [])
    for condition in re.split(r"\s+AND\s+", match["where"] or "", flags=re.IGNORECASE):
        points = filtered(points, condition.strip().strip("()"))
    if not points:
        return {}
    columns, rows = aggregated(points, what, match["step"]) if "(" in what else plain(points, what)
    if (match["down"] or "").upper().endswith("DESC"):
        rows.reverse()
    return {
        "series": [
            {"name": measurement, "columns": ["time", *columns], "values": rows[: int(match["limit"] or 10_000)]}
        ]
    }


def of(store: Databases, database: str | None) -> dict[str, list]:
    if not database:
        raise Wrong("database name required")
    if database not in store.points:
        raise Wrong(f"database not found: {database}")
    return store.points[database]


def plain(points: list, what: str) -> tuple[list[str], list[list]]:
    if what.strip() == "*":
        columns = sorted({key for point in points for key in (*point[1], *point[2])})
    else:
        columns = [name.strip().strip('"') for name in what.split(",")]
    rows = [[moment, *({**tags, **fields}.get(name) for name in columns)] for moment, tags, fields in points]
    return columns, [row for row in rows if any(value is not None for value in row[1:])]


def aggregated(points: list, what: str, step: str | None) -> tuple[list[str], list[list]]:
    calls = re.findall(r'(\w+)\(\s*"?([\w.* -]+?)"?\s*\)(?:\s+AS\s+"?(\w+)"?)?', what, re.IGNORECASE)
    unknown = [name for name, _field, _alias in calls if name.lower() not in AGGREGATES]
    if unknown or not calls:
        raise Wrong(
            f"undefined function {unknown[0] if unknown else what}(): this simulation has {', '.join(AGGREGATES)}"
        )
    width = duration(step) if step else None
    buckets: dict[int, list] = {}
    for point in points:
        buckets.setdefault(point[0] // width * width if width else 0, []).append(point)
    rows = []
    for moment, bucket in sorted(buckets.items()):
        row: list[object] = [moment]
        for name, field, _alias in calls:
            values = [point[2][field] for point in bucket if field in point[2]]
            if field == "*":
                values = [value for point in bucket for value in point[2].values()]
            try:
                row.append(AGGREGATES[name.lower()](values) if values else None)
            except TypeError:
                raise Wrong(f"unsupported {name} iterator type: text") from None
        rows.append(row)
    return [alias or name.lower() for name, _field, alias in calls], rows


def filtered(points: list, condition: str) -> list:
    if not condition:
        return points
    match = re.fullmatch(r'"?([\w.-]+)"?\s*(=~|!=|<>|>=|<=|=|>|<)\s*(.+)', condition, re.DOTALL)
    if match is None:
        raise Wrong(f"error parsing query: '{condition}' is more than this simulation knows")
    name, sign, text = match.groups()
    wanted = moment(text) if name.lower() == "time" else literal(text)

    def holds(point: tuple[int, dict, dict]) -> bool:
        value = point[0] if name.lower() == "time" else {**point[1], **point[2]}.get(name)
        if sign == "=~":
            return re.search(str(wanted), str(value)) is not None
        if value is None or isinstance(value, str) != isinstance(wanted, str):
            return sign in ("!=", "<>")
        return COMPARISONS[sign](value, wanted)

    return [point for point in points if holds(point)]


def literal(text: str) -> object:
    text = text.strip()
    if text[0] in "'/":
        return text[1:-1]
    return field_value(text, text)


def moment(text: str) -> int:
    """`now() - 1h`, `'2015-08-18T00:00:00Z'`, `1434055562000ms`."""
    text = text.strip()
    match = re.fullmatch(r"now\(\)\s*(?:([-+])\s*(\w+))?", text, re.IGNORECASE)
    if match:
        return time.time_ns() + (-1 if match[1] == "-" else 1) * (duration(match[2]) if match[2] else 0)
    if text.startswith("'"):
        stamp = datetime.datetime.fromisoformat(text.strip("'").replace("Z", "+00:00"))
        return int((stamp if stamp.tzinfo else stamp.replace(tzinfo=datetime.UTC)).timestamp() * 1e9)
    return duration(text)


def duration(text: str) -> int:
    match = re.fullmatch(r"(\d+)([a-z]*)", text)
    if match is None or (match[2] or "n") not in UNITS:
        raise Wrong(f"invalid duration: {text}")
    return int(match[1]) * UNITS[match[2] or "n"]


def named(text: str) -> str:
    return text.replace("NAME", NAME)


STATEMENTS: list[tuple[str, Callable[..., dict]]] = [
    (named(r"CREATE\s+DATABASE\s+NAME(?:\s+WITH\s.*)?"), create_database),
    (named(r"DROP\s+DATABASE\s+NAME"), drop_database),
    (r"SHOW\s+DATABASES", show_databases),
    (named(r"SHOW\s+MEASUREMENTS(?:\s+(?:LIMIT|WITH|WHERE)\s.*)?"), show_measurements),
    (named(r"SHOW\s+(TAG|FIELD)\s+KEYS(?:\s+FROM\s+NAME)?"), show_keys),
    (r"SHOW\s+USERS", show_users),
    (named(r"CREATE\s+USER\s+NAME\s+WITH\s+PASSWORD\s+'([^']*)'(\s+WITH\s+ALL\s+PRIVILEGES)?"), create_user),
    (named(r"GRANT\s+(.*)"), grant),
    (rf"SELECT\s+(.+?)\s+FROM\s+({PART}(?:\.?\.{PART}){{0,2}})(\s.*)?", select),
]


class Handler(serving.Handler):
    """The HTTP API of InfluxDB 1.x."""

    server_version = "InfluxDB-simulated"
    store: Databases
    authenticates = False

    def do_GET(self) -> None:
        self.handle_call({})

    do_HEAD = do_GET

    def do_POST(self) -> None:
        content = self.body()
        self.handle_call(
            {"": content.decode("utf-8", "replace")}
            if "form-urlencoded" not in self.headers.get("Content-Type", "")
            else {name: value[-1] for name, value in urllib.parse.parse_qs(content.decode("utf-8", "replace")).items()}
        )

    def handle_call(self, form: dict[str, str]) -> None:
        path, query = self.split()
        values = {**query, **{name: value for name, value in form.items() if name}}
        headers = {"X_Influxdb_Version": VERSION, "X_Influxdb_Build": NOTICE}
        if path == "/ping":
            return self.answer(204, **headers)
        if path == "/health":
            status = {
                "name": "influxdb",
                "message": f"ready for queries and writes ({NOTICE})",
                "status": "pass",
                "version": VERSION,
            }
            return self.answer(200, status, **headers)
        if path not in ("/query", "/write"):
            return self.answer(404, {"error": f"not found: {path}"}, **headers)
        if not self.is_allowed(values):
            return self.answer(
                401, {"error": "authorization failed"}, WWW_Authenticate='Basic realm="InfluxDB"', **headers
            )
        code, body = self.write(values, form.get("", "")) if path == "/write" else self.query(values)
        self.answer(code, body, **headers)

    def is_allowed(self, values: dict[str, str]) -> bool:
        if not self.authenticates:
            return True
        user, password = self.basic() or (values.get("u", ""), values.get("p", ""))
        known = self.store.users.get(user)
        return known is not None and hmac.compare_digest(known[0].encode(), password.encode())

    def write(self, values: dict[str, str], text: str) -> tuple[int, dict | bytes]:
        name = values.get("db", "")
        if self.command != "POST":
            return 405, {"error": "expected POST"}
        if name not in self.store.points:
            return 404, {"error": f'database not found: "{name}"'}
        try:
            self.store.write(name, text, UNITS[values.get("precision", "n")])
        except (Wrong, KeyError) as error:
            return 400, {"error": str(error)}
        return 204, b""

    def query(self, values: dict[str, str]) -> tuple[int, dict]:
        if not values.get("q"):
            return 400, {"error": 'missing required parameter "q"'}
        results: list[dict] = []
        for number, statement in enumerate(part for part in values["q"].split(";") if part.strip()):
            try:
                result = run(statement, values.get("db"), self.store)
            except (Wrong, ValueError) as error:
                if str(error).startswith("error parsing"):
                    return 400, {"error": str(error)}
                result = {"error": str(error)}
            results.append({"statement_id": number, **in_unit(result, values.get("epoch"))})
        return 200, {"results": results}


def in_unit(result: dict, epoch: str | None) -> dict:
    """Times as RFC 3339, or in the unit asked for."""
    for series in result.get("series", []):
        if series["columns"][0] == "time":
            for row in series["values"]:
                row[0] = row[0] // UNITS.get(epoch, 1) if epoch else rfc3339(row[0])
    return result


def rfc3339(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, 10**9)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return text + (f".{rest:09d}".rstrip("0") if rest else "") + "Z"


def main() -> None:
    environment = os.environ
    store = Databases(serving.tree_path("/var/lib/influxdb"))
    if environment.get("INFLUXDB_DB"):
        store.create(environment["INFLUXDB_DB"])
    for user, password, admin in (
        ("INFLUXDB_ADMIN_USER", "INFLUXDB_ADMIN_PASSWORD", True),
        ("INFLUXDB_USER", "INFLUXDB_USER_PASSWORD", False),
    ):
        if environment.get(user):
            store.users[environment[user]] = (environment.get(password, ""), admin)
    Handler.store = store
    Handler.authenticates = environment.get("INFLUXDB_HTTP_AUTH_ENABLED", "").lower() == "true"
    serving.serve(f"InfluxDB {VERSION}", Handler, 8086)


if __name__ == "__main__":
    main()
