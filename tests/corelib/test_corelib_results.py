"""What agents answer, as MuranoPL code gets it (spec/agent-protocol §6)."""

from __future__ import annotations

import pytest

import dsl
from engine.system.results import AGENT_EXCEPTION, result_value


@pytest.mark.parametrize("body", ["text", {"exitCode": 0, "stdout": "x", "stderr": ""}, None, True, [1, 2]])
def test_the_body_of_a_good_result_is_the_value(body):
    assert result_value({"FormatVersion": "2.0.0", "ErrorCode": 0, "Body": body}) == body


@pytest.mark.parametrize("message", [None, {}])
def test_an_empty_result_is_null(message):
    assert result_value(message) is None


def test_a_failed_script_is_an_agent_exception_with_its_output():
    message = {
        "FormatVersion": "2.0.0",
        "ErrorCode": 100,
        "Body": {"Message": "Script run returned error code", "AdditionalInfo": {"exitCode": 3, "stderr": "no"}},
        "Time": "2026-01-01",
    }

    with pytest.raises(dsl.SystemFailure) as caught:
        result_value(message)

    assert caught.value.names == (AGENT_EXCEPTION,)
    assert caught.value.extra == {
        "message": "Script run returned error code",
        "details": {"exitCode": 3, "stderr": "no"},
        "errorCode": 100,
        "time": "2026-01-01",
        "extra": None,
    }
    assert caught.value.message == str(caught.value.extra)


def test_of_a_version_1_result_the_last_command_counts():
    message = {
        "IsException": False,
        "Result": [{"IsException": False, "Result": ["first"]}, {"IsException": False, "Result": ["second", "line"]}],
    }
    assert result_value(message) == ["second", "line"]


def test_a_failed_version_1_command_is_an_agent_exception():
    message = {
        "IsException": False,
        "Result": [{"IsException": True, "Result": ["System.Exception", "no domain", "Join-Domain", {"line": 1}]}],
    }

    with pytest.raises(dsl.SystemFailure) as caught:
        result_value(message)

    assert caught.value.extra == {
        "type": "System.Exception",
        "message": "no domain",
        "command": "Join-Domain",
        "details": {"line": 1},
        "timestamp": None,
        "source": "command",
    }


def test_a_failed_version_1_plan_is_an_agent_exception():
    with pytest.raises(dsl.SystemFailure) as caught:
        result_value({"IsException": True, "Result": "broken"})
    assert caught.value.extra["message"] == "broken"
    assert caught.value.extra["source"] == "execution_plan"
