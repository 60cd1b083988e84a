"""Whether time stays linear and memory small when there is ten times as much of something."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator

import language
from measure import Row, seconds

import dsl
from dsl.packages import Package
from dsl.packages.archives import MemoryFiles

LINEAR = 1.5  # times the cost per piece at a tenth of the size; caches of the processor are not linear


def rows(rounds: int) -> Iterator[Row]:
    """Every goal about size."""
    yield _growth("load and dump 20,000 objects", 20_000, _load_and_dump, rounds)
    yield _memory(20_000)
    yield _growth("a loop of ten million turns", 10_000_000, _loop, 1)
    yield _growth("a class tree 60 deep, an object of it", 60, _tree, rounds)
    yield _growth("500 packages with 3 versions each", 500, _packages, rounds)


def _growth(title: str, size: int, run: Callable[[int], Callable[[], object]], rounds: int) -> Row:
    """Cost per piece at the full size, beside a tenth of it; the best of some rounds, as both sides run apart."""
    small = min(seconds(run(size // 10)) for _ in range(rounds + 2)) / (size // 10)
    full = min(seconds(run(size)) for _ in range(max(1, rounds // 2))) / size
    unit = f"{full * size * 1e3:.0f} ms" if full * size < 1 else f"{full * size:.1f} s"
    return Row(title, unit, full / small, LINEAR, "a tenth of it")


def _load_and_dump(objects: int) -> Callable[[], object]:
    environment, model = language.runtime(), language.model(objects)
    return lambda: environment.load(model).dump()


def _memory(objects: int) -> Row:
    """Bytes per object after a load; the values themselves belong to the model that the host holds anyway."""
    environment, model = language.runtime(), language.model(objects)
    environment.load(language.model(1))
    gc.collect()
    tracemalloc.start()
    program = environment.load(model)
    gc.collect()
    used = tracemalloc.get_traced_memory()[0] / objects
    tracemalloc.stop()
    program.discard()
    return Row("memory per object beyond its data", f"{used:.0f} bytes", used, 1024, "", " B")


def _loop(turns: int) -> Callable[[], object]:
    program = language.program()
    return lambda: program.run("b", "count", [turns])


def _tree(depth: int) -> Callable[[], object]:
    """A fresh package each time, so that nothing is compiled before."""
    documents = ["Namespaces: {=: tree}\nName: Base\nProperties: {p0: {Contract: $.int(), Default: 0}}\n"]
    for level in range(1, depth):
        parent = "Base" if level == 1 else f"C{level - 1}"
        documents.append(
            f"Name: C{level}\nExtends: {parent}\nProperties: {{p{level}: {{Contract: $.int(), Default: 0}}}}\n"
            f"Methods: {{m{level}: {{Body: [{{Return: $.p{level} + 1}}]}}}}\n"
        )
    names = ["Base", *(f"C{level}" for level in range(1, depth))]
    package = _package("tree", "0.1.0", "\n---\n".join(documents), [f"tree.{name}" for name in names])
    runtime = dsl.Runtime(dsl.Library([package]))
    return lambda: runtime.load({"Objects": {"?": {"type": f"tree.{names[-1]}", "id": "o"}}})


def _packages(count: int) -> Callable[[], object]:
    """Each requires the one before it, in its middle version; every class is loaded."""
    found: list[Package] = []
    for number in range(count):
        for version in ("0.1.0", "0.2.0", "0.3.0"):
            name = f"p{number}"
            text = (
                f"Namespaces: {{=: {name}}}\nName: Main\nMethods: {{get: {{Usage: Static, Body: [{{Return: 1}}]}}}}\n"
            )
            require = f"Require: {{p{number - 1}: '>=0.2.0,<0.3.0'}}\n" if number else ""
            found.append(_package(name, version, text, [f"{name}.Main"], require))
    runtime = dsl.Runtime(dsl.Library(found))

    def load() -> None:
        program = runtime.load({})
        for number in range(count):
            program.find_class(f"p{number}.Main")

    return load


def _package(name: str, version: str, classes: str, names: list[str], more: str = "") -> Package:
    listed = ", ".join(f"{each}: All.yaml" for each in names)
    manifest = f'Format: "1.4"\nFullName: {name}\nVersion: {version}\nType: Library\nClasses: {{{listed}}}\n{more}'
    return Package(MemoryFiles(name, {"manifest.yaml": manifest.encode(), "Classes/All.yaml": classes.encode()}))
