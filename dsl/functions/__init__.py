"""The function library of MuranoPL: values, operators, functions (spec/muranopl.md §16 to §18).

`table(format_version)` is the way in; nothing here knows objects, classes or programs.
"""

from __future__ import annotations

from dsl.functions.limits import FunctionLimits
from dsl.functions.table import Function, FunctionTable, table

__all__ = ["Function", "FunctionLimits", "FunctionTable", "table"]
