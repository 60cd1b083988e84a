"""Files with compositions: read, filled, and refused where they are wrong."""

from __future__ import annotations

import json

import pytest

import packages
from cli import compositions, errors
from cli.demo import story

SERVICE = {"?": {"type": "t.A", "id": "a"}, "name": "one", "password": "{secret}"}


def test_placeholders_are_filled(tmp_path):
    path = tmp_path / "services.json"
    path.write_text(json.dumps([SERVICE]))
    [service] = compositions.read(path, ["secret=a=b"])
    assert service["password"] == "a=b"


def test_a_placeholder_that_nobody_fills_is_named_with_the_remedy(tmp_path):
    path = tmp_path / "services.json"
    path.write_text(json.dumps([SERVICE]))
    with pytest.raises(errors.CommandError) as refused:
        compositions.read(path)
    assert "secret" in refused.value.message
    assert "--set secret=..." in refused.value.hints[0]


def test_a_yaml_file_may_hold_the_list_under_services(tmp_path):
    path = tmp_path / "services.yaml"
    path.write_text("services:\n- '?': {type: t.A, id: a}\n")
    assert compositions.read(path) == [{"?": {"type": "t.A", "id": "a"}}]


@pytest.mark.parametrize("text", ["{", "[1]", '{"a": 1}', '"x"', "[{}]"])
def test_a_file_that_is_no_composition_is_named(tmp_path, text):
    path = tmp_path / "services.json"
    path.write_text(text)
    with pytest.raises(errors.CommandError, match=r"services\.json"):
        compositions.read(path)


def test_leaving_a_class_out_also_drops_what_refers_to_it():
    values = [f"{name}=x" for name in story.PASSWORDS]
    composition = compositions.read(packages.example("grafana-on-kubernetes"), values)
    rest = story.without(composition, story.INFLUXDB)
    [grafana] = [item for item in rest if item["?"]["type"] == story.GRAFANA]
    assert "influxDB" not in grafana
    assert len(rest) == len(composition) - 1
    assert "influxDB" in next(item for item in composition if item["?"]["type"] == story.GRAFANA)
