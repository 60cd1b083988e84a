"""Compiled classes kept between processes: used when they are ours and whole, made again in every other case."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import dsl
from dsl.compiler import stored
from dsl.packages import Package
from dsl.packages.archives import MemoryFiles
from dsl.runtime import cache, sources

MANIFEST = b'Format: "1.4"\nFullName: t\nType: Library\nClasses: {t.Main: Main.yaml}\n'
MAIN = """
Namespaces: {=: t, sys: io.murano}
Name: Main
Properties:
  p: {Contract: $.int().notNull().check($ > 0), Default: 3}
  d: {Contract: {$.string(): [$.class(Main)]}, Default: {}}
Methods:
  run:
    Usage: Static
    Arguments: [{a: {Contract: $.int(), Default: ANSWER}}]
    Body:
      - $d: {k: [1, 2020-01-01, $a]}
      - Return: $d.k[2] + 1
  fail:
    Usage: Static
    Body: [{Throw: Bad, Message: no}]
"""


@pytest.fixture(autouse=True)
def forgetful() -> None:
    """Nothing is known from an earlier test: each is a new process in this respect."""
    sources.compiled.cache_clear()


def answer(folder: Path, number: int = 41) -> object:
    """What the package's method returns, in what is as good as a new process."""
    sources.compiled.cache_clear()
    return program(folder, number).call_static("t.Main", "run")


def program(folder: Path, number: int = 41, text: str = MAIN) -> dsl.Program:
    content = {"manifest.yaml": MANIFEST, "Classes/Main.yaml": text.replace("ANSWER", str(number)).encode()}
    return dsl.Runtime(dsl.Library([Package(MemoryFiles("t", content))], cache=folder)).load({})


def entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the classes of packages that were compiled."""
    seen: list[str] = []
    real = sources.compile_class

    def record(declaration: object, signatures: object) -> object:
        if declaration.name.startswith("t."):  # type: ignore[attr-defined]
            seen.append(declaration.name)  # type: ignore[attr-defined]
        return real(declaration, signatures)  # type: ignore[arg-type]

    monkeypatch.setattr(sources, "compile_class", record)
    return seen


def test_the_next_process_compiles_nothing(tmp_path: Path, compilations: list[str]) -> None:
    assert answer(tmp_path) == 42
    assert answer(tmp_path) == 42
    assert compilations == ["t.Main"]


def test_other_content_is_another_class(tmp_path: Path, compilations: list[str]) -> None:
    assert [answer(tmp_path, 1), answer(tmp_path, 2), answer(tmp_path, 1)] == [2, 3, 2]
    assert compilations == ["t.Main", "t.Main"]


def test_another_compiler_does_not_use_what_this_one_made(
    tmp_path: Path, compilations: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(tmp_path)
    monkeypatch.setattr(cache, "fingerprint", lambda: ("another",))
    assert answer(tmp_path) == 42
    assert compilations == ["t.Main", "t.Main"]


def test_a_cached_class_tells_its_lines_contracts_and_schema_like_a_fresh_one(tmp_path: Path) -> None:
    answer(tmp_path)
    sources.compiled.cache_clear()
    cached = program(tmp_path)
    with pytest.raises(dsl.Thrown) as thrown:
        cached.call_static("t.Main", "fail")
    assert [(frame.line, frame.method) for frame in thrown.value.stack] == [(16, "fail")]
    with pytest.raises(dsl.Thrown, match="p"):
        cached.runtime.load({"Objects": {"?": {"type": "t.Main", "id": "a"}, "p": -1}})
    made = cached.runtime.load({"Objects": {"?": {"type": "t.Main", "id": "a"}}})
    assert made.dump()["Objects"]["p"] == 3
    assert cached.runtime.library.schema("t.Main")["properties"]["p"]["default"] == 3


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:20],
        lambda content: content[:-1],
        lambda content: content[:100] + b"?" + content[101:],
        lambda content: b"something else",
    ],
    ids=["empty", "begun", "cut", "changed", "foreign"],
)
def test_a_damaged_file_is_made_again(
    tmp_path: Path, compilations: list[str], damage: Callable[[bytes], bytes]
) -> None:
    answer(tmp_path)
    for path in entries(tmp_path):
        path.write_bytes(damage(path.read_bytes()))
    assert answer(tmp_path) == 42
    assert answer(tmp_path) == 42
    assert compilations.count("t.Main") == 2


class Hostile:
    """What a pickle would make of itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.folder),)


def test_a_file_with_a_right_checksum_makes_nothing_but_parts_of_classes(tmp_path: Path) -> None:
    answer(tmp_path)
    content = pickle.dumps(Hostile(tmp_path / "owned"))
    for path in entries(tmp_path):
        path.write_bytes(cache._MAGIC + cache.hashlib.sha256(content).digest() + content)
    assert answer(tmp_path) == 42
    assert not (tmp_path / "owned").exists()


def test_constants_and_contracts_are_values_and_nothing_else(tmp_path: Path) -> None:
    for content in (b"P" + pickle.dumps(Hostile(tmp_path / "owned")), b"P" + pickle.dumps(print)):
        with pytest.raises(pickle.UnpicklingError, match="no part of a compiled class"):
            stored._contract(content)
    assert not (tmp_path / "owned").exists()


CONTRACTS = """
Name: t.Main
Properties:
  a: {Contract: !yaql "$.string().notNull().check(len($) > 1, no)"}
  b: {Contract: [$.int(), true, 1, 1.0, 2, 3]}
  c: {Contract: {k: 2020-01-01, $.string(): [$.class(t.Main)], l: null}}
  d: {Contract: $.int() or 5, Default: {x: [2020-01-01, !!set {1, 2}]}}
  e: {Contract: {}, Usage: Static, Default: null, Meta: [t.M, {t.N: {x: 1}}]}
Methods:
  run:
    Arguments:
      - a: {Contract: !yaql "$.template(t.Main, excludeProperties => [x])"}
      - b: {Contract: $, Usage: KwArgs}
    Body: {Return: $a}
"""


def test_a_class_is_the_same_after_it_was_bytes() -> None:
    (declaration,) = dsl.packages.read_declarations(CONTRACTS, "Main.yaml", "t.Main")
    signatures = sources.Signatures(dsl.functions.table("1.4"), frozenset(), False)
    code = sources.compile_class(declaration, signatures)
    again = stored.loaded(memoryview(stored.dumped(code)))
    assert {name: repr(each.contract) for name, each in again.properties.items()} == {
        name: repr(each.contract) for name, each in code.properties.items()
    }
    assert repr(again.declaration) == repr(code.declaration)
    assert repr(again.methods) == repr(code.methods)
    for ours, theirs in zip(again.all_parts(), code.all_parts(), strict=True):
        assert ours.code == theirs.code
        assert repr((ours.sites, ours.constants, ours.instructions)) == repr(
            (dict(theirs.sites), dict(theirs.constants), dict(theirs.instructions))
        )


def test_a_folder_that_others_can_write_to_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o777)
    assert answer(folder) == 42
    assert entries(folder) == []
    assert "nobody else can write" in caplog.text


def test_a_file_that_others_can_write_to_is_not_used(tmp_path: Path, compilations: list[str]) -> None:
    answer(tmp_path)
    for path in entries(tmp_path):
        path.chmod(0o666)
    assert answer(tmp_path) == 42
    assert compilations.count("t.Main") == 2


def test_a_link_is_not_followed(tmp_path: Path, compilations: list[str]) -> None:
    folder = tmp_path / "cache"
    answer(folder)
    for path in entries(folder):
        path.rename(tmp_path / path.name)
        path.symlink_to(tmp_path / path.name)
    assert answer(folder) == 42
    assert compilations.count("t.Main") == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_folder_of_somebody_else_is_not_used(tmp_path: Path, compilations: list[str]) -> None:
    answer(tmp_path)
    os.chown(tmp_path, 12345, 12345)
    assert answer(tmp_path) == 42
    assert compilations.count("t.Main") == 2


def test_a_cache_that_can_not_be_made_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert answer(tmp_path / "file") == 42
    assert answer(tmp_path / "file" / "below") == 42


def test_writers_at_the_same_time_leave_one_whole_file(tmp_path: Path, compilations: list[str]) -> None:
    answer(tmp_path)
    (path,) = [each for each in entries(tmp_path) if b"Main" in each.read_bytes()]
    kept = cache.CodeCache(tmp_path)
    code = stored.loaded(memoryview(path.read_bytes())[len(cache._MAGIC) + cache._DIGEST :])
    writers = [threading.Thread(target=lambda: [kept.put(("same",), code) for _ in range(20)]) for _ in range(4)]
    for writer in writers:
        writer.start()
    read = [found for _ in range(50) if (found := kept.get(("same",))) is not None]
    for writer in writers:
        writer.join()
    assert kept.get(("same",)) is not None
    assert all(found.declaration.name == "t.Main" for found in read)
    assert not [each for each in entries(tmp_path) if each.name.startswith("tmp")]


def test_the_environment_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MURANOPL_CACHE", str(tmp_path))
    content = {"manifest.yaml": MANIFEST, "Classes/Main.yaml": MAIN.replace("ANSWER", "1").encode()}
    runtime = dsl.Runtime(dsl.Library([Package(MemoryFiles("t", content))]))
    assert runtime.load({}).call_static("t.Main", "run") == 2
    assert len(entries(tmp_path)) == 1


@pytest.mark.parametrize(
    "body",
    [
        "[{Unknown: 1}]",
        "[{If: $x}]",
        "[{Repeat: 3, Do: [{Break: 1}]}]",
        "[{Try: [$x], Catch: [{Wrong: 1}]}]",
        "[word]",
        "[{While: 1, Do: []}]",
        "[{For: $i, In: $x, Do: []}]",
    ],
)
def test_what_is_wrong_in_a_body_is_found_though_the_method_is_never_called(tmp_path: Path, body: str) -> None:
    text = f"Namespaces: {{=: t}}\nName: Main\nMethods:\n  never:\n    Body: {body}\n"
    for folder in (tmp_path / "a", None):
        sources.compiled.cache_clear()
        content = {"manifest.yaml": MANIFEST, "Classes/Main.yaml": text.encode()}
        loaded = dsl.Runtime(dsl.Library([Package(MemoryFiles("t", content))], cache=folder)).load({})
        with pytest.raises(dsl.Thrown, match=r"Main\.yaml"):
            loaded.find_class("t.Main")


def test_a_method_is_made_at_its_first_call_only() -> None:
    content = {"manifest.yaml": MANIFEST, "Classes/Main.yaml": MAIN.replace("ANSWER", "1").encode()}
    loaded = dsl.Runtime(dsl.Library([Package(MemoryFiles("t", content))])).load({})
    cls = loaded.find_class("t.Main").cls
    assert not [name for name in cls.globals if name.startswith("b_")]
    loaded.call_static("t.Main", "run")
    assert [cls.code.bodies[name] for name in cls.globals if name.startswith("b_")] == ["run"]
