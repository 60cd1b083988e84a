"""What the names in an expression stand for: `$`, `$this`, `$1`, variables, functions made by `def` (§15).

A scope is never changed; lambdas, `let`, `with` and `unpack` make inner ones.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from dsl.compiler import emit


@dataclass(frozen=True)
class Scope:
    """MuranoPL names -> Python names. `dollar` and `this` are Python names, `numbered` holds `$1`, `$2` ..."""

    dollar: str
    this: str
    variables: Mapping[str, str] = field(default_factory=dict)
    numbered: Mapping[int, str] = field(default_factory=dict)
    rest: str | None = None  # Python name of the tuple of arguments from $2 on
    functions: Mapping[str, str] = field(default_factory=dict)
    this_is_object: bool = False  # `this` can only be an object of the class being compiled

    def value(self, path: str) -> ast.expr:
        """The value of `$`, `$this`, `$3` or `$name`; what is not defined is null."""
        label = path[1:]
        if not label:
            return emit.name(self.dollar)
        if label == "this":
            return emit.name(self.this)
        if label.isdecimal():
            return self._numbered(int(label))
        if label in self.variables:
            return emit.name(self.variables[label])
        return emit.const(None)

    def _numbered(self, number: int) -> ast.expr:
        if number == 0:
            return emit.const(None)
        if number in self.numbered:
            return emit.name(self.numbered[number])
        if number == 1:
            return emit.name(self.dollar)
        if self.rest is None:
            return emit.const(None)
        item = emit.item(emit.name(self.rest), emit.const(number - 2))
        enough = emit.compare(emit.call("len", emit.name(self.rest)), ast.Gt(), emit.const(number - 2))
        return emit.if_else(enough, item, emit.const(None))

    def is_settled(self, path: str) -> bool:
        """Whether what a name stands for is frozen certainly: arguments of lambdas and `let` may be lazy."""
        value = self.value(path)
        if isinstance(value, ast.Name):
            return value.id == self.this or (value.id.startswith(_PREFIX) and value.id in self.variables.values())
        return isinstance(value, ast.Constant)

    def inside_lambda(self, dollar: str, rest: str | None) -> Scope:
        """The scope of a lambda whose first argument is `dollar` and whose further ones are in `rest`."""
        return replace(self, dollar=dollar, rest=rest, numbered={}, this_is_object=self.this_is_object)

    def with_variables(self, variables: Mapping[str, str]) -> Scope:
        return replace(self, variables={**self.variables, **variables})

    def with_numbered(self, names: tuple[str, ...]) -> Scope:
        """What `with(a, b)` and `let(a, b)` do: `$1`, `$2`; `$` becomes the first."""
        numbered = dict(enumerate(names, start=1))
        return replace(self, numbered=numbered, dollar=names[0] if names else self.dollar, rest=None)

    def with_function(self, label: str, function: str) -> Scope:
        return replace(self, functions={**self.functions, label: function})


def python_name(variable: str) -> str:
    """The Python local that holds a MuranoPL variable; the prefix keeps it apart from everything of ours."""
    return _PREFIX + variable


_PREFIX = "v_"
