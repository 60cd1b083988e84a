"""A check on the command line: problems make it fail, what could not be looked at does not."""

from __future__ import annotations

import json

import pytest

from cli import client, errors, main

NOTE = {"region": "RegionOne", "message": "Not looked at: flavors (no answer within 15 s)"}
PROBLEM = {
    "object_id": "s1", "type": "io.murano.resources.LinuxInstance", "path": "flavor", "found": "m1.larg",
    "message": "There is no flavor 'm1.larg'", "expected": "one of m1.large", "fix": "Did you mean 'm1.large'?",
}  # fmt: skip


@pytest.fixture
def answer(monkeypatch):
    """What the service says to a check; it has one environment."""
    said = {"problems": [], "notes": []}

    def request(self, method, path, **_options):
        return {"environments": [{"id": "e", "name": "quay"}]} if path == "/environments" else said

    monkeypatch.setattr(client.Client, "__init__", lambda self, credentials: None)
    monkeypatch.setattr(client.Client, "request", request)
    for name in ("AUTH_URL", "USERNAME", "PASSWORD", "PROJECT_NAME"):
        monkeypatch.setenv(f"OS_{name}", "x")
    return said


def check(*more):
    return main.main(["environment", "check", "quay", "--session", "s", *more])


def test_what_could_not_be_looked_at_is_told_and_no_failure(answer, capsys):
    answer["notes"] = [NOTE, {**NOTE, "region": None}]
    assert check() == errors.OK
    said = capsys.readouterr().out
    assert "Nothing is missing." in said
    assert f"RegionOne: {NOTE['message']}" in said
    assert f"\n{NOTE['message']}" in said


def test_problems_are_for_machines_alone_on_the_standard_output(answer, capsys):
    answer["problems"], answer["notes"] = [PROBLEM], [NOTE]
    assert check("-f", "json") == errors.FAILED
    said = capsys.readouterr()
    assert json.loads(said.out) == [PROBLEM]
    assert "Not looked at" in said.err
