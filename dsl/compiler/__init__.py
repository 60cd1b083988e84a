"""From declarations to Python code objects. Reached through `compile_class`; knows nothing of objects or programs."""

from __future__ import annotations

from dsl.compiler.methods import ArgumentCode, ClassCode, MethodCode, PropertyCode, compile_class

__all__ = ["ArgumentCode", "ClassCode", "MethodCode", "PropertyCode", "compile_class"]
