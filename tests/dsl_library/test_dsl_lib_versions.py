"""Versions and what is asked of them (spec/muranopl.md §4.3)."""

from __future__ import annotations

import pytest

from dsl.packages import Version, VersionSpec


@pytest.mark.parametrize(
    ("given", "expected"),
    [("1", "1.0.0"), ("1.2", "1.2.0"), ("1.2b", "1.2.0-b"), ("1.2.3.4", "1.2.3+4"), (1.5, "1.5.0"), (2, "2.0.0")],
)
def test_incomplete_versions_are_completed(given: object, expected: str) -> None:
    assert str(Version.coerce(given)) == expected


@pytest.mark.parametrize("given", ["", "x", "v1", "-1", None, "1" * 10_000])
def test_what_is_no_version_is_refused(given: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (the library's words are not ours to fix)
        Version.coerce(given)


@pytest.mark.parametrize(
    ("spec", "inside", "outside"),
    [
        (None, ["0.0.0", "0.9.9"], ["1.0.0", "1.0.0-rc"]),
        ("", ["0.5.0"], ["1.0.0"]),
        ("1", ["1.0.0", "1.9.0"], ["2.0.0", "0.9.0"]),
        (1.2, ["1.2.0", "1.2.9"], ["1.3.0"]),
        ("=1.2", ["1.2.5"], ["1.3.0"]),
        ("==1.2.3", ["1.2.3"], ["1.2.4"]),
        ("*", ["0.0.0", "7.0.0", "1.0.0-rc"], []),
        ("~1.2", ["1.2.9"], ["1.3.0"]),
        ("^1.2", ["1.9.0"], ["2.0.0", "1.1.0"]),
        ("~=1.2", ["1.9.0"], ["2.0.0"]),
        ("1.*", ["1.7.0"], ["2.0.0"]),
        (">1", ["2.0.0"], ["1.5.0", "2.0.0-rc"]),
        (">1.2", ["1.3.0"], ["1.2.9"]),
        (">=1.2", ["1.2.0"], ["1.1.9"]),
        ("<1.2", ["1.1.9"], ["1.2.0"]),
        ("<=1.2", ["1.2.9"], ["1.3.0"]),
        (">= 1.0, < 2", ["1.5.0"], ["2.0.0"]),
        ("!=1.2.3", ["1.2.4"], ["1.2.3"]),
        ("!=1.2", ["1.3.0", "1.1.0"], ["1.2.4"]),
    ],
)
def test_partial_versions_are_widened(spec: object, inside: list[str], outside: list[str]) -> None:
    parsed = VersionSpec.parse(spec)
    assert [text for text in [*inside, *outside] if parsed.matches(Version(text))] == inside


@pytest.mark.parametrize("spec", ["1.x", "abc", "1..2", ">", "1,,2", "1.2-beta", "9" * 300])
def test_what_is_no_specification_is_refused(spec: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        VersionSpec.parse(spec)


def test_the_highest_matching_version_is_selected() -> None:
    versions = [Version(text) for text in ("0.9.0", "0.10.0", "1.0.0")]
    assert VersionSpec.parse("0").select(versions) == Version("0.10.0")
    assert VersionSpec.parse("2").select(versions) is None
