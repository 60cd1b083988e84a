"""Plans as people read them, and in files."""

from __future__ import annotations

import io
import json

import pytest
import rich.console

from cli import errors, plans
from cli.output import Output

HASH = "a" * 64
STACK = {"stack": "shop-1"}


def step(kind, summary, type_="OS::Nova::Server", target="web", **details):
    return {"kind": kind, "target": target, "type": type_, "summary": summary, "details": details, "digest": summary}


UPDATE = step(
    "update",
    "Update the server web: flavor, image",
    **STACK,
    effect="rebuild",
    changes=[
        {"path": "properties.flavor", "before": "small", "after": "large", "effect": "resize"},
        {"path": "properties.image", "after": {"id": 1}, "effect": "rebuild"},
        {"path": "parameters.pin", "before": "***", "after": "***", "note": "it may be the same"},
    ],
    changes_left_out=2,
)
STEPS = [
    step("report", "Creating [the] server", "info"),
    step("create", "Create the network net", **STACK),
    UPDATE,
    step("delete", "Delete the server old", **STACK, goes_with=["its disk"]),
    step("execute", "Install on web (install.sh)", "script", parameters={"port": 80}, timeout=60),
]


def answer(*steps):
    counts = {kind: sum(each["kind"] == kind for each in steps) for kind in plans.COUNTED}
    return {"steps": list(steps), "counts": counts, "hash": HASH}


def shown(**options):
    console = rich.console.Console(file=io.StringIO(), width=120, highlight=False)
    plans.show(console, options.pop("answer", answer(*STEPS)), **options)
    return console.file.getvalue()


def test_a_plan_is_read_from_top_to_bottom():
    assert (
        shown()
        == """\
  · Creating [the] server

Stack shop-1
  + Create the network net
  ~ Update the server web: flavor, image
      flavor: small -> large  [resize]
      image: nothing -> {"id": 1}  [rebuild]
      parameters.pin: *** -> ***  (it may be the same)
      and 2 more changes
  - Delete the server old
      with its disk

Scripts on web
  > Install on web (install.sh)
      port=80

1 of what changes is made anew.
1 to create, 1 to change, 1 to delete, 1 to run. Nothing was changed.
"""
    )


def test_before_and_after_are_in_colour_on_a_terminal():
    console = rich.console.Console(file=io.StringIO(), width=120, force_terminal=True, color_system="standard")
    plans.show(console, answer(UPDATE))
    text = console.file.getvalue()
    assert "\x1b[31msmall" in text
    assert "\x1b[32mlarge" in text


def test_verbose_shows_what_else_is_known():
    assert "      timeout: 60\n" in shown(verbose=True)
    assert "timeout" not in shown()


def test_a_plan_without_steps_says_so():
    assert shown(answer=answer()) == "Nothing would happen.\n"


def test_a_plan_is_kept_for_its_user_only_and_taken_up_again(tmp_path):
    path = tmp_path / "plan.json"
    plans.write(str(path), answer(*STEPS), "env", "session", plans.DEPLOY)
    assert path.stat().st_mode & 0o077 == 0
    assert plans.wanted(str(path), "env", plans.DEPLOY) == plans.Held(HASH, "session")
    assert json.loads(path.read_text())["steps"] == STEPS
    assert plans.wanted(HASH, "env", plans.DEPLOY) == plans.Held(HASH)
    assert plans.wanted(None, "env", plans.DEPLOY) is None


def test_what_is_no_plan_of_this_is_refused_before_anything_is_asked(tmp_path):
    path = tmp_path / "plan.json"
    plans.write(str(path), answer(), "env", None, plans.ACTION)
    with pytest.raises(errors.CommandError, match="of environment env, not of other"):
        plans.wanted(str(path), "other", plans.ACTION)
    with pytest.raises(errors.CommandError, match="expected the plan of a deployment, found that of an action"):
        plans.wanted(str(path), "env", plans.DEPLOY)
    with pytest.raises(errors.CommandError, match="there is no such file"):
        plans.wanted("a" * 12, "env", plans.DEPLOY)
    path.write_text("[]")
    with pytest.raises(errors.CommandError, match="expected a file of 'plan --out'"):
        plans.wanted(str(path), "env", plans.DEPLOY)
    with pytest.raises(errors.CommandError, match="it cannot be written"):
        plans.write(str(tmp_path), answer(), "env", None, plans.DEPLOY)


def test_a_refusal_shows_what_was_planned_and_what_it_would_be_now():
    console = rich.console.Console(file=io.StringIO(), width=120, highlight=False)
    output = Output("table", console, console)
    moved = {
        "planned": HASH,
        "now": "b" * 64,
        "differences": [
            {"planned": step("create", "Create the network net"), "now": None, "hidden": False},
            {"planned": STEPS[-1], "now": STEPS[-1], "hidden": True},
        ],
        "left_out": 3,
    }
    with pytest.raises(errors.CommandError), plans.moves_told(output):
        raise errors.CommandError("refused", code=errors.REFUSED, details={"plan": moved})
    assert (
        console.file.getvalue()
        == """\
planned + Create the network net
now     nothing
planned > Install on web (install.sh)
planned     port=80
now     > Install on web (install.sh)
now         port=80
        They differ in what is not shown: a secret, a script, or what was shortened.
and 3 more
"""
    )
