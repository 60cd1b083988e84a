"""The texts of packages: YAML documents with source marks, and the expressions in them.

`load` reads a file, `parse_expression` a single expression; both raise `dsl.errors.SyntaxProblem` and nothing else.
"""

from __future__ import annotations

from dsl.syntax.documents import Mapping, Sequence, load
from dsl.syntax.expressions import Expression, ExpressionError, children, parse, parse_expression
from dsl.syntax.locations import Location

__all__ = [
    "Expression",
    "ExpressionError",
    "Location",
    "Mapping",
    "Sequence",
    "children",
    "load",
    "parse",
    "parse_expression",
]
