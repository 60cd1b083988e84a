"""The YAML reader and the JSONPath templates of the simulated kubectl, against PyYAML and known answers."""

from __future__ import annotations

import pathlib
import re
import sys

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "engine/clouds/lab/image/usr/local/lib/chandlery-lab"))

from simulated.images import influxdb
from simulated.kubernetes import jsonpath, manifests

TEXTS = [
    "a: 1\nb:\n  - x\n  - y: 2\n    z: 3\n  -\n    deep: true\nc:\n- same\n- depth\n",
    "text: |\n  one\n    two\n\n  three\nfold: >-\n  one\n  two\n\n  three\nkeep: |+\n  x\n\nlast: ~\n",
    "flow: {a: [1, 2.5, \"x: y\"], 'b c': {}, d: []}\nlong: [one,\n  two,\n  three]\n",
    "# comment\nkey: value # not this\nurl: http://x/#anchor\nquoted: 'it''s # in'\nesc: \"tab\\tnew\\nline\"\n",
    "- - a\n  - b\n- c\n-   d: 1\n    e: 2\n",
    "args:\n- --ip-masq\n- '--kube'\n- -v=2\ncommand:\n- sh\n- -c\n- |\n  echo hi\n  exit 0\nafter: 1\n",
    "long plain\n  text goes on\n",
    "a: plain text\n  that goes on\nb: 0x1F\nc: 1.5e+3\nd: -7\ne: .5\nf: '007'\ng: v1.2.3\nh: 10.244.0.0/16\n",
    "empty:\nother:\n  nested:\n    deeper: x\n  back: y\n",
    "a:\n  # a comment inside\n  b: 1\n\n  # another\n  c: 2\n",
]


@pytest.mark.parametrize("text", TEXTS)
def test_yaml_means_what_pyyaml_says(text: str) -> None:
    assert manifests.documents(text, "x") == [yaml.safe_load(text)]


def test_documents_are_apart_and_lists_are_taken_apart() -> None:
    text = "kind: A\napiVersion: v1\n---\n---\nkind: List\napiVersion: v1\nitems:\n- kind: B\n- kind: C\n"
    assert [item["kind"] for item in manifests.objects(text, "x")] == ["A", "B", "C"]


@pytest.mark.parametrize(
    "text",
    ["a: &x 1\n", "a: *x\n", "a: !tag b\n", "? a\n: b\n", "a: 1\na: 2\n", "a: 1\n   b: 2\n", "a: 'x\n", "a: [1] 2\n"],
)
def test_what_it_does_not_take_is_an_error_with_its_line(text: str) -> None:
    with pytest.raises(manifests.ManifestError, match=r"error parsing name\.yaml: line \d"):
        manifests.documents(text, "name.yaml")


# Numbers to kubectl (YAML 1.2) that are texts to PyYAML (YAML 1.1).
NEWER_NUMBERS = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+|[-+]?0o[0-7]+")
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=12).filter(
        lambda text: NEWER_NUMBERS.fullmatch(text) is None
    )
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.from_regex(r"[a-z][a-zA-Z./-]{0,8}", fullmatch=True), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(["a", "b", "spec"]), values, min_size=1))
def test_everything_pyyaml_writes_is_read_back(value: dict) -> None:
    text = yaml.safe_dump(value, default_flow_style=False, width=10_000)
    assert manifests.documents(text, "x") == [value]


OBJECT = {
    "items": [{"name": "a", "ports": [80, 81]}, {"name": "b", "ports": []}],
    "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]},
    "labels": {"app.kubernetes.io/name": "x"},
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{.items[*].name}", "a b"),
        ("{.items[0].ports[1]}", "81"),
        ("{.items[-1].name}", "b"),
        ('{range .items[*]}{.name}{"\\n"}{end}', "a\nb\n"),
        ("{range .items[*]}{.name}: {range .ports[*]}<{@}>{end};{end}!", "a: <80><81>;b: ;!"),
        ('{.status.conditions[?(@.type=="Ready")].status}', "True"),
        ("{.labels.app\\.kubernetes\\.io/name}", "x"),
        ("{.labels['app.kubernetes.io/name']}", "x"),
        ("{.missing.path}", ""),
        ("name is {.items[0].name}", "name is a"),
        ("{.items[1]}", '{"name":"b","ports":[]}'),
    ],
)
def test_jsonpath_templates(template: str, text: str) -> None:
    assert jsonpath.render(template, OBJECT) == text


def test_a_jsonpath_that_cannot_be_read_is_an_error() -> None:
    with pytest.raises(jsonpath.PathError):
        jsonpath.render("{.items[?]}", OBJECT)


def test_influxql_of_dashboards() -> None:
    store = influxdb.Databases("/nonexistent")
    influxdb.run("CREATE DATABASE m", None, store)
    store.write("m", "cpu,host=a\\ b value=1,ok=t 1\ncpu value=3 2\n# comment\n", 10**9)
    run = influxdb.run
    assert run('SELECT "value" FROM "m"."autogen"."cpu" ORDER BY time DESC LIMIT 1', None, store)["series"][0][
        "values"
    ] == [[2 * 10**9, 3.0]]
    assert run("SELECT max(value) AS top, count(value) FROM cpu WHERE host = 'a b' AND value < 2", "m", store)[
        "series"
    ][0]["values"] == [[0, 1.0, 1]]
    assert run("SHOW TAG KEYS FROM cpu", "m", store)["series"][0]["values"] == [["host"]]
    assert run("SHOW FIELD KEYS", "m", store)["series"][0]["values"] == [["ok", "boolean"], ["value", "float"]]
    assert run("SELECT value FROM cpu WHERE time > now() - 1h", "m", store) == {}
    with pytest.raises(influxdb.Wrong, match="database not found: x"):
        run("SELECT a FROM b", "x", store)
    with pytest.raises(influxdb.Wrong, match=r"undefined function median\(\)"):
        run("SELECT median(value) FROM cpu", "m", store)
