"""Following deployments and going on with failed ones, against scripted answers of the service."""

from __future__ import annotations

import json
import types

import pytest

from cli import errors, output
from cli.commands import deployment

REPORT = {"level": "info", "text": "web is up", "created": "2026-01-01T10:00:00", "component": None}
PROGRESS = {
    "level": "progress",
    "text": "Stack web: as its template says after 3.0 s",
    "created": "2026-01-01T10:00:03",
    "component": {"id": "a", "name": "shop", "class": "org.example.App"},
}
DONE = {"id": "new", "state": "success", "result": {"result": None, "isException": False}}
FAILED = {"id": "new", "state": "completed_w_errors", "result": {"result": {"message": "no host"}, "isException": True}}


class Service:
    """Answers as the API does; remembers what it was asked."""

    def __init__(self, last=DONE):
        self.asked = []
        self.last = last

    def request(self, method, path, **_more):
        self.asked.append((method, path))
        if path == "/environments":
            return {"environments": [{"id": "e1", "name": "harbour"}]}
        if method == "GET" and path == "/environments/e1/deployments":
            return {"deployments": [{"id": "newest"}, {"id": "older"}]}
        return {"id": "new", "retry_of": path.split("/")[4], "state": "running"}

    def events(self, path):
        self.asked.append(("GET", path))
        yield "report", REPORT
        if "progress=true" in path:
            yield "report", PROGRESS
        yield "finished", self.last


def call(service, format="table", **options):
    given = {"environment": "harbour", "deployment": None, "wait": False, "verbose": False, "output": False, **options}
    return types.SimpleNamespace(
        client=service, options=types.SimpleNamespace(**given), output=output.Output.of(format)
    )


def test_what_the_engine_does_is_told_to_who_asks(capsys):
    service = Service()
    assert deployment.follow_command(call(service)) == errors.OK
    assert "Stack web" not in capsys.readouterr().out
    assert deployment.follow_command(call(service, verbose=True)) == errors.OK
    assert "10:00:03  shop: Stack web: as its template says after 3.0 s" in capsys.readouterr().out
    assert service.asked[-1] == ("GET", "/environments/e1/deployments/newest/events?progress=true")


@pytest.mark.parametrize(("named", "meant"), [(None, "newest"), ("older", "older")])
def test_a_deployment_is_cancelled(capsys, named, meant):
    service = Service()
    assert deployment.cancel(call(service, deployment=named)) == errors.OK
    assert service.asked[-1] == ("POST", f"/environments/e1/deployments/{meant}/cancel")
    assert f"Deployment {meant} ends at its next step." in capsys.readouterr().out


def test_who_waits_for_the_end_of_a_cancelled_deployment_got_what_was_wanted():
    service = Service(last=FAILED)
    assert deployment.cancel(call(service, wait=True)) == errors.OK
    assert [path.rpartition("/")[2] for _method, path in service.asked[-2:]] == ["cancel", "events"]


@pytest.mark.parametrize(("named", "meant"), [(None, "newest"), ("older", "older")])
def test_a_failed_deployment_goes_on(capsys, named, meant):
    service = Service()
    assert deployment.retry(call(service, deployment=named)) == errors.OK
    assert service.asked[-1] == ("POST", f"/environments/e1/deployments/{meant}/retry")
    assert f"Deployment new goes on where {meant} failed." in capsys.readouterr().out


@pytest.mark.parametrize(("last", "code"), [(DONE, errors.OK), (FAILED, errors.FAILED)])
def test_with_wait_the_code_tells_how_the_retry_ended(capsys, last, code):
    service = Service(last)
    assert deployment.retry(call(service, wait=True)) == code
    assert service.asked[-1] == ("GET", "/environments/e1/deployments/new/events")
    said = capsys.readouterr().out
    assert ("chandlery deployment retry e1 --wait" in said) is (code == errors.FAILED)


def test_for_machines_there_is_one_document(capsys):
    deployment.retry(call(Service(), format="json"))
    assert json.loads(capsys.readouterr().out)["retry_of"] == "newest"
    deployment.follow_command(call(Service(FAILED), format="json"))
    assert json.loads(capsys.readouterr().out)["state"] == "completed_w_errors"
