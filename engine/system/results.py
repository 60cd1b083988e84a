"""What a plan's result message means to MuranoPL code (spec/agent-protocol §6)."""

from __future__ import annotations

from collections.abc import Mapping

import dsl

AGENT_EXCEPTION = "murano.engine.system.agent.AgentException"


def result_value(message: object) -> object:
    """The value of `agent.call`; null for an empty result. Raises AgentException (SystemFailure) for a failed plan."""
    if not message:
        return None
    if not isinstance(message, Mapping):
        raise _agent_exception({"message": f"the agent's answer is no dictionary but {type(message).__name__}"})
    if str(message.get("FormatVersion") or "1.0").startswith("1."):
        return _v1(message)
    return _v2(message)


def _v2(message: Mapping[str, object]) -> object:
    body = message.get("Body")
    code = message.get("ErrorCode") or 0
    if code == 0:
        return body
    error = dict(body) if isinstance(body, Mapping) else {"Message": body}
    text = error.pop("Message", None)
    details = error.pop("AdditionalInfo", None)
    raise _agent_exception(
        {
            "message": text,
            "details": details,
            "errorCode": code,
            "time": message.get("Time"),
            "extra": error or None,
        }
    )


def _v1(message: Mapping[str, object]) -> object:
    result = message.get("Result")
    if message.get("IsException"):
        raise _agent_exception(_v1_error(result, "execution_plan", message))
    last: object = None
    for command in result if isinstance(result, list) else []:
        if isinstance(command, Mapping) and command.get("IsException"):
            raise _agent_exception(_v1_error(command.get("Result"), "command", message))
        last = command.get("Result") if isinstance(command, Mapping) else command
    return last


def _v1_error(result: object, source: str, message: Mapping[str, object]) -> dict[str, object]:
    parts = list(result) if isinstance(result, list) else [None, result]
    kind, text, command, details = (*parts, None, None, None, None)[:4]
    return {
        "type": kind,
        "message": text,
        "command": command,
        "details": details,
        "timestamp": message.get("Time"),
        "source": source,
    }


def _agent_exception(error: dict[str, object]) -> dsl.SystemFailure:
    # `$e.message` is the text of the whole error; `$e.extra` gives its parts.
    return dsl.SystemFailure((AGENT_EXCEPTION,), str(error), error)
