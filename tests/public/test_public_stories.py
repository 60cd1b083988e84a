"""Packages that nobody here wrote, unmodified, from their forms to their end, on a recording cloud.

`CHANDLERY_PUBLIC_PACKAGES` names a folder with checkouts of openstack/murano-apps, k8s-docker-suite-app-murano and
ci-cd-pipeline-app-murano; they are not part of this project. The tables of stories are in `public_apps`,
`public_containers` and `public_pipeline`.
"""

from __future__ import annotations

import public_apps
import public_cloud
import public_containers
import public_pipeline
import public_world
import pytest
from public_stories import Story, compare

STORIES: dict[str, Story] = {**public_apps.STORIES, **public_containers.STORIES, **public_pipeline.STORIES}


@pytest.mark.parametrize("name", STORIES)
def test_a_package_goes_from_its_form_to_its_end(installation, caplog, name):
    story = STORIES[name]
    if name.partition("/")[0] not in {found for found, _version in installation.packages}:
        pytest.skip(f"the folder has no package {name}")
    cloud = public_cloud.ScriptedCloud(story.answers, story.protocol)
    environment = installation.environment(name.replace("/", "-"), cloud)
    environment.add(*story.compose(installation.form))

    assert environment.problems() == []
    is_deployed(environment, story)
    is_deployed_again(environment, story)
    if story.then is not None:
        story.then(environment)
    own = set(installation.package(name).manifest.classes)
    assert environment.acted == environment.actions(own), "every action of the package's classes is called"
    loses_the_application(environment, story)
    is_deleted(environment)
    failed = [record.getMessage() for record in caplog.records if record.getMessage().startswith(".destroy of")]
    for text in failed:
        assert any(f"<{each}/" in text and text.endswith("ObjectDestroyedError") for each in story.doomed), text


def is_deployed(environment: public_world.Environment, story: Story) -> None:
    outcome = environment.deploy()
    compare(environment.cloud, 0, story.ran, leaves_out=story.leaves_out)
    assert set(story.says) <= set(outcome.reports), outcome.reports
    if not story.fails:
        assert (outcome.state, outcome.errors) == ("deployed", ()), outcome.result
        return
    assert outcome.state == "deploy failure"
    details = outcome.result["result"]["details"]
    for piece in story.fails:
        assert piece in details, details


def is_deployed_again(environment: public_world.Environment, story: Story) -> None:
    """Nothing was changed: nothing is pushed, and nothing runs but what the package means to run every time."""
    since = len(environment.cloud.events)
    outcome = environment.deploy()
    compare(environment.cloud, since, story.again, leaves_out=story.leaves_out and bool(story.again))
    if story.fails_again:
        assert all(piece in outcome.result["result"]["details"] for piece in story.fails_again), outcome.result
        return
    assert (outcome.state, outcome.errors) == ("deployed", ()), outcome.result
    assert not [event for event in environment.cloud.events[since:] if isinstance(event, public_cloud.Push)]


def loses_the_application(environment: public_world.Environment, story: Story) -> None:
    """Its own servers go with it, those of the others stay."""
    known = environment.counted()
    names = {each["?"]["id"]: each.get("name") for each in public_world.objects_of(environment.model["Objects"])}
    own = known.keys() & {each["?"]["id"] for each in public_world.objects_of(environment.object("app"))}
    since = len(environment.cloud.events)
    environment.remove("app")
    outcome = environment.deploy()
    assert (outcome.state, outcome.errors) == ("deployed", ()), outcome.result
    compare(environment.cloud, since, story.removed)
    left = environment.cloud.standing("OS::Nova::Server")
    assert not [key for key in own if names[key] in left]
    assert environment.counted() == {key: is_there and key not in own for key, is_there in known.items()}


def is_deleted(environment: public_world.Environment) -> None:
    environment.delete()
    assert environment.is_gone()
    assert list(environment.cloud.stacks()) == []
    assert not any(environment.counted().values())
