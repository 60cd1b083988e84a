"""io.murano.system.Logger: what `logger(name)` gives packages. spec/core-library §9.10."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence

import dsl


@dsl.native
class Logger:
    def __init__(self, this: dsl.ObjectHandle, logger_name: str | None = None) -> None:
        self._this = this
        self._name = logger_name or "package"

    @dsl.method
    def trace(self, message: str, *args: object, **kwargs: object) -> None:
        self._log("trace", message, args, kwargs)

    @dsl.method
    def debug(self, message: str, *args: object, **kwargs: object) -> None:
        self._log("debug", message, args, kwargs)

    @dsl.method
    def info(self, message: str, *args: object, **kwargs: object) -> None:
        self._log("info", message, args, kwargs)

    @dsl.method
    def warning(self, message: str, *args: object, **kwargs: object) -> None:
        self._log("warning", message, args, kwargs)

    @dsl.method
    def error(self, message: str, *args: object, **kwargs: object) -> None:
        self._log("error", message, args, kwargs)

    @dsl.method
    def critical(self, message: str, *args: object, **kwargs: object) -> None:
        self._log("critical", message, args, kwargs)

    @dsl.method
    def exception(self, exc: dsl.ObjectHandle, message: str, *args: object, **kwargs: object) -> None:
        """`message`, then the exception and its stack trace."""
        trace = exc.get("stackTrace")
        text = f"{_filled_in(message, args, kwargs)}\n{exc.get('name')}: {exc.get('message')}"
        if isinstance(trace, dsl.ObjectHandle):
            text += f"\n{trace.call('toString', '  ')}"
        self._log("error", "{0}", (text,), {})

    def _log(self, level: str, message: str, args: Sequence[object], kwargs: Mapping[str, object]) -> None:
        self._this.effect("log", name=self._name, level=level, message=_filled_in(message, args, kwargs))


class _Fields(string.Formatter):
    """`{}`, `{0}`, `{name}` only: attributes and items of arguments are nobody's business."""

    def get_field(self, field_name: str, args: Sequence[object], kwargs: Mapping[str, object]) -> tuple[object, str]:
        if not field_name.isalnum() and not field_name.isidentifier():
            raise ValueError(f"field {{{field_name}}} is neither a number nor a name")
        key: int | str = int(field_name) if field_name.isdigit() else field_name
        return self.get_value(key, args, kwargs), field_name

    def format_field(self, value: object, format_spec: str) -> str:
        if format_spec:  # a width is an easy way to ask for a lot of memory
            raise ValueError(f"format specifications like '{format_spec[:20]}' are not known here")
        return str(value)


def _filled_in(message: str, args: Sequence[object], kwargs: Mapping[str, object]) -> str:
    if not args and not kwargs:
        return message
    try:
        return _Fields().vformat(message, args, kwargs)
    except (ValueError, LookupError, TypeError) as error:
        # A message that cannot be filled in is still worth more than a failed deployment.
        return f"{message} [not filled in: {error}]"
