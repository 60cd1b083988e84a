"""Why requirements can not be met together, in a sentence: who wants what, what there is, and the smallest change.

`explain(causes, ...)` is called by `catalog.dependencies` when its solver gives up. A fix is only proposed after the
solver has found that everything fits with it.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from catalog.dependencies import Available, Need, Source

MOST_NEEDS = 8  # requirements that a fix is looked for in; a conflict of people has two or three
MOST_FIXES = 3  # that are told
LISTED = 10  # versions that are listed

Solution = Mapping[str, "Available"]


@dataclasses.dataclass(frozen=True)
class Conflict:
    """One conflict: requirements with the chains that lead to them, and what would help."""

    sentence: str
    needs: tuple[Need, ...]
    fixes: tuple[str, ...]

    def shown(self) -> dict[str, Any]:
        """For machines: `{"requirements": [{"chain", "package", "requires"}], "fixes"}`."""
        listed = [{"chain": list(need.chain), "package": need.name, "requires": need.spec.text} for need in self.needs]
        return {"requirements": listed, "fixes": list(self.fixes)}


def explain(
    needs: Sequence[Need], source: Source, where: str, solve: Callable[[frozenset[Need]], Solution | None]
) -> Conflict:
    """The conflict between these needs. `solve` solves everything anew as if some of them admitted any version."""
    name = _unmet(needs, source)
    about = [need for need in needs if need.name == name]
    found = sorted({version.version for version in source.versions(name)})
    fixes = _fixes(about, needs, solve)
    if not found:
        said = f"{wanted(about[0])}, but {where} has no package {name}."
        fixes = [*fixes, f"import {name} first, in a version that fits {about[0].spec.text}"]
    else:
        listed = ", ".join(str(version) for version in found[:LISTED]) + (" and more" if len(found) > LISTED else "")
        if len(about) == 1:
            said = f"{wanted(about[0])}, but {where} has {name} only in {listed}."
        else:
            said = "; ".join(wanted(need) for need in about)
            said += f"; no version of {name} in {where} fits all ({listed})."
        if not fixes:
            fitting = " and ".join(dict.fromkeys(need.spec.text for need in about))
            fixes = [f"import {name} in a version that fits {fitting}"]
    return Conflict(f"{said} Smallest fix: {'; or '.join(fixes)}.", tuple(about), tuple(fixes))


def wanted(need: Need) -> str:
    """`A -> B requires C >=1`."""
    asked = f"{need.name} {need.spec.text}"
    return f"{' -> '.join(need.chain)} requires {asked}" if need.chain else f"{asked} is wanted"


def _unmet(needs: Sequence[Need], source: Source) -> str:
    """The package the conflict is about: one that is not there at all, or one that no version fits all needs of."""
    names = list(dict.fromkeys(need.name for need in needs))
    for name in names:
        if not source.versions(name):
            return name
    for name in names:
        asked = [need for need in needs if need.name == name]
        if not any(all(need.admits(version) for need in asked) for version in source.versions(name)):
            return name
    return names[0]


def _fixes(
    about: Sequence[Need], needs: Sequence[Need], solve: Callable[[frozenset[Need]], Solution | None]
) -> list[str]:
    """Fewest changed requirements first: one of those the conflict is about, one of the others, then two together."""
    others = [need for need in needs if need not in about]
    tried = [*about, *others][:MOST_NEEDS]
    for number in (1, 2):
        fixes = []
        for waived in itertools.combinations(tried, number):
            solution = solve(frozenset(waived))
            if solution is not None:
                fixes.append(" and ".join(_change(need, solution[need.name]) for need in waived))
            if len(fixes) == MOST_FIXES:
                break
        if fixes:
            return fixes
    return []


def _change(need: Need, chosen: Available) -> str:
    asker = need.chain[-1] if need.chain else ""
    if asker.startswith("the type "):
        return f"in the model, let {asker} be of version {chosen.version}"
    if " " in asker and not asker.startswith("the "):
        return f"let the Require of {asker} admit {chosen} (now {need.spec.text})"
    return f"ask for {chosen} instead of {need.spec.text}"
