"""What people and machines read on the command line."""

from __future__ import annotations

import io
import json

import rich.console

from catalog import topology
from cli import output

COMPOSITION = {
    "services": [
        {
            "?": {"id": "cluster", "type": "org.example.Cluster"},
            "name": "kube",
            "nodes": [{"?": {"id": "node", "type": "org.example.Node"}, "name": "kube-1", "ipAddresses": ["10.0.0.3"]}],
        },
        {"?": {"id": "pod", "type": "org.example.Pod"}, "name": "monitoring", "cluster": "cluster"},
        {"?": {"id": "influx", "type": "org.example.Influx"}, "name": "metrics", "host": "pod"},
        {
            "?": {"id": "grafana", "type": "org.example.Grafana/1.0.0@org.example"},
            "name": "dashboards",
            "host": "pod",
            "influxDB": "influx",
            "endpoints": [{"url": "http://10.0.0.6:3000", "scope": "public"}],
        },
    ]
}


def drawn(graph: dict) -> str:
    console = rich.console.Console(file=io.StringIO(), width=120)
    console.print(output.topology_tree(graph, "demo"))
    return console.file.getvalue()


def test_the_tree_puts_a_thing_under_its_owner_or_the_first_thing_it_needs():
    lines = drawn(topology.graph(COMPOSITION)).splitlines()
    depth = {
        name: next(line for line in lines if name in line).index(name)
        for name in ("kube ", "kube-1", "monitoring", "metrics ", "dashboards")
    }
    assert depth["kube "] < depth["kube-1"] == depth["monitoring"] < depth["metrics "] == depth["dashboards"]
    dashboards = next(line for line in lines if "dashboards" in line)
    assert "influxDB → metrics" in dashboards
    assert "http://10.0.0.6:3000" in dashboards


def test_things_that_need_each_other_are_still_drawn_once():
    circle = {
        "services": [
            {"?": {"id": "a", "type": "t.A"}, "name": "first", "peer": "b"},
            {"?": {"id": "b", "type": "t.B"}, "name": "second", "peer": "a"},
        ]
    }
    text = drawn(topology.graph(circle))
    assert text.count("t.A") == 1
    assert text.count("t.B") == 1


def test_the_graph_leaves_out_plumbing_and_tells_actions():
    model = {
        "applications": [
            {
                "?": {
                    "id": "a",
                    "type": "t.A",
                    "_actions": {
                        "a_grow": {"name": "grow", "title": "Grow", "enabled": True},
                        "a_off": {"name": "off", "enabled": False},
                    },
                },
                "stack": {"?": {"id": "s", "type": "io.murano.system.HeatStack"}},
            }
        ]
    }
    [node] = topology.graph(model)["nodes"]
    assert node["actions"] == [{"id": "a_grow", "name": "grow", "title": "Grow"}]


def test_an_empty_environment_has_an_empty_graph():
    assert topology.graph(None) == {"nodes": [], "edges": []}


def test_as_json_a_list_is_one_document_on_standard_output(capsys):
    output.Output.of("json").rows([{"name": "a", "hidden": 1}], {"name": "Name"}, empty="none")
    assert json.loads(capsys.readouterr().out) == [{"name": "a", "hidden": 1}]


def test_a_table_shows_markup_of_hostile_names_as_it_is(capsys):
    output.Output.of("table").rows([{"name": "[red]boo[/red]"}], {"name": "Name"}, empty="none")
    assert "[red]boo[/red]" in capsys.readouterr().out
