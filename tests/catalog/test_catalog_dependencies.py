"""Which packages belong together, why they can not, what would help, and who uses a package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from catalog_cloud import Client, Cloud, archive_of

from catalog import dependencies
from catalog.db import deployments
from catalog.dependencies import Available, Need, Unresolvable
from dsl.packages import Version, VersionSpec

Packages = Mapping[str, Mapping[str, str]]


class Shelf:
    """Packages as `{"Name version": {"Name": "range"}}`, the core library among them."""

    def __init__(self, packages: Packages) -> None:
        self._all = [self._one(key, require) for key, require in {"io.murano 0.1.0": {}, **packages}.items()]

    def versions(self, name: str) -> Sequence[Available]:
        return [each for each in self._all if each.name == name]

    @staticmethod
    def _one(key: str, require: Mapping[str, str]) -> Available:
        name, _, version = key.partition(" ")
        specs = {each: VersionSpec.parse(spec) for each, spec in require.items()}
        return Available(name, Version.coerce(version), specs, key)


def solved(packages: Packages, *wanted: str) -> dict[str, str]:
    """The versions that are chosen for what is wanted, as `"Name range"`."""
    needs = [
        Need(name, VersionSpec.parse(spec), ("the model",)) for name, _, spec in (w.partition(" ") for w in wanted)
    ]
    found = dependencies.resolve(needs, Shelf(packages))
    return {name: str(each.version) for name, each in found.items() if name != "io.murano"}


def refused(packages: Packages, *wanted: str) -> Unresolvable:
    with pytest.raises(Unresolvable) as failure:
        solved(packages, *wanted)
    return failure.value


# --- versions --------------------------------------------------------------------------------------------------------


def test_no_version_means_any_below_one() -> None:
    packages: Packages = {"A 0.1.0": {"B": ""}, "B 0.9.3": {}, "B 1.0.0": {}}
    assert solved(packages, "A ") == {"A": "0.1.0", "B": "0.9.3"}


def test_an_older_version_is_taken_where_the_newest_does_not_fit() -> None:
    packages: Packages = {
        "A 0.1.0": {"B": "", "C": "<0.2"},
        "B 0.1.0": {"C": ""},
        "B 0.2.0": {"C": ">=0.2"},
        "C 0.1.0": {},
        "C 0.2.0": {},
    }
    assert solved(packages, "A ") == {"A": "0.1.0", "B": "0.1.0", "C": "0.1.0"}


# --- conflicts -------------------------------------------------------------------------------------------------------

HOSTS: Packages = {
    "New 0.1.0": {"Host": ">=0.2", "Shop": ""},
    "Shop 0.1.0": {"Host": "<0.2"},
    "Host 0.1.0": {},
    "Host 0.2.0": {},
}


def test_a_contradiction_is_a_sentence_with_both_chains_and_the_smallest_fixes() -> None:
    failure = refused(HOSTS, "New ")
    assert str(failure) == (
        "the model -> New 0.1.0 requires Host >=0.2; the model -> New 0.1.0 -> Shop 0.1.0 requires Host <0.2; "
        "no version of Host in the catalog fits all (0.1.0, 0.2.0). Smallest fix: "
        "let the Require of New 0.1.0 admit Host 0.1.0 (now >=0.2); or "
        "let the Require of Shop 0.1.0 admit Host 0.2.0 (now <0.2)."
    )
    assert failure.details["conflict"]["requirements"] == [
        {"chain": ["the model", "New 0.1.0"], "package": "Host", "requires": ">=0.2"},
        {"chain": ["the model", "New 0.1.0", "Shop 0.1.0"], "package": "Host", "requires": "<0.2"},
    ]


@pytest.mark.parametrize("change", [{"New 0.1.0": {"Host": "", "Shop": ""}}, {"Shop 0.1.0": {"Host": ""}}])
def test_each_proposed_fix_is_one(change: Packages) -> None:
    assert "Host" in solved({**HOSTS, **change}, "New ")


def test_a_change_that_would_not_help_is_not_proposed() -> None:
    packages: Packages = {
        "A 0.1.0": {"C": ">=0.2"},
        "B 0.1.0": {"C": "<0.2"},
        "C 0.1.0": {},
        "C 0.2.0": {"Missing": ""},  # B would have to admit this one, and it can not be had either
    }
    text = str(refused(packages, "A ", "B "))
    assert "let the Require of A 0.1.0 admit C 0.1.0 (now >=0.2)" in text
    assert "admit C 0.2.0" not in text


def test_what_nobody_has_is_to_be_imported() -> None:
    failure = refused({"A 0.1.0": {"B": ""}, "B 0.1.0": {"Missing": ">=3"}}, "A ")
    assert "the model -> A 0.1.0 -> B 0.1.0 requires Missing >=3, but the catalog has no package Missing" in str(
        failure
    )
    assert failure.conflict is not None
    assert failure.conflict.fixes == ("import Missing first, in a version that fits >=3",)


def test_a_version_that_is_not_there_names_those_that_are() -> None:
    text = str(refused({"A 0.1.0": {"B": ">=3"}, "B 1.0.0": {}, "B 2.0.0": {}}, "A "))
    assert "but the catalog has B only in 1.0.0, 2.0.0" in text
    assert "let the Require of A 0.1.0 admit B 2.0.0 (now >=3)" in text


def test_many_versions_are_listed_in_order_up_to_a_limit() -> None:
    text = str(refused({"A 0.1.0": {"B": ">=3"}, **{f"B 1.{number}.0": {} for number in range(30)}}, "A "))
    assert "only in 1.0.0, 1.1.0, 1.2.0" in text
    assert "1.9.0 and more" in text


def test_two_wishes_of_the_model_itself_contradict_each_other() -> None:
    text = str(refused({"A 1.0.0": {}, "A 2.0.0": {}}, "A 1", "A 2"))
    assert "ask for A 1.0.0 instead of 2" in text
    assert "ask for A 2.0.0 instead of 1" in text


# --- over the API ----------------------------------------------------------------------------------------------------


def uploaded(client: Client, name: str, **options: Any) -> str:
    return client.upload(archive_of(name, **options)).json["id"]


def test_a_conflict_is_there_for_machines_too(cloud: Cloud, core: None) -> None:
    shop = uploaded(cloud.member, "org.shop.Shop", require={"org.shop.Host": ">=2"})
    uploaded(cloud.member, "org.shop.Host", version="1.0.0")
    answer = cloud.member(
        "GET", f"/v1/catalog/packages/{shop}/dependencies", Accept="application/json", status=409
    ).json
    assert answer["conflict"] == {
        "requirements": [{"chain": ["org.shop.Shop 0.1.0"], "package": "org.shop.Host", "requires": ">=2"}],
        "fixes": ["let the Require of org.shop.Shop 0.1.0 admit org.shop.Host 1.0.0 (now >=2)"],
    }


def test_dependents_are_packages_that_rest_on_this_version_and_environments_locked_to_it(
    cloud: Cloud, core: None
) -> None:
    host = uploaded(cloud.member, "org.shop.Host", version="0.1.0")
    newer = uploaded(cloud.member, "org.shop.Host", version="0.2.0")
    server = uploaded(cloud.member, "org.shop.Server", require={"org.shop.Host": "<0.2"})
    shop = uploaded(cloud.member, "org.shop.Shop", require={"org.shop.Server": ""})
    uploaded(cloud.stranger, "org.other.Secret", require={"org.shop.Host": ""})
    environments = [deployed(cloud, name, host) for name in ("first", "second")]
    deployed(cloud, "second", newer, environment=environments[1])  # moved on since

    found = dependents(cloud.member, host)
    listed = [(each["id"], each["direct"], each["through"]) for each in found["packages"]]
    assert listed == [(server, True, "org.shop.Host 0.1.0"), (shop, False, "org.shop.Server 0.1.0")]
    assert [each["name"] for each in found["environments"]] == ["first"]
    assert [each["name"] for each in dependents(cloud.member, newer)["environments"]] == ["second"]
    assert dependents(cloud.member, newer)["packages"] == []
    assert dependents(cloud.member, shop) == {"packages": [], "environments": []}
    cloud.stranger("GET", f"/v1/catalog/packages/{host}/dependents", status=403)
    cloud.member("GET", "/v1/catalog/packages/nothing/dependents", status=404)


def test_other_projects_environments_are_shown_to_administrators_only(cloud: Cloud, core: None) -> None:
    [everywhere] = cloud.admin.json("GET", "/v1/catalog/packages?fqn=io.murano")["packages"]
    deployed(cloud, "mine", everywhere["id"])
    assert dependents(cloud.stranger, everywhere["id"])["environments"] == []
    [found] = dependents(cloud.admin, everywhere["id"])["environments"]
    assert (found["name"], found["tenant_id"]) == ("mine", cloud.member.project_id)
    uploaded(cloud.member, "org.shop.Host")
    assert [each["fqn"] for each in dependents(cloud.member, everywhere["id"])["packages"]] == ["org.shop.Host"]


def dependents(client: Client, package_id: str) -> Any:
    return client.json("GET", f"/v1/catalog/packages/{package_id}/dependents")


def deployed(cloud: Cloud, name: str, package_id: str, *, environment: str | None = None) -> str:
    """An environment whose newest deployment is locked to a package."""
    environment = environment or cloud.member.environment(name)["id"]
    with cloud.database.transaction() as session:
        deployments.submit(
            session,
            environment_id=environment,
            session_id=None,
            project_id=cloud.member.project_id,
            user_id=cloud.member.user_id,
            kind="deploy",
            action={"object_id": environment, "method": "deploy", "args": {}},
            model={},
            lock=[{"fqn": "x", "version": "0.1.0", "package_id": package_id, "digest": ""}],
        )
    return environment


# --- the lock of a session -------------------------------------------------------------------------------------------


def edited(cloud: Cloud, *types: str) -> tuple[str, str]:
    """An environment and a session of it with an application of each type."""
    environment = cloud.member.environment("e")["id"]
    session = cloud.member.session(environment)
    for number, name in enumerate(types):
        body = {"?": {"id": f"a{number}", "type": name}}
        cloud.member("POST", f"/v1/environments/{environment}/services", body, X_Configuration_Session=session)
    return environment, session


def planned(cloud: Cloud, environment: str, session: str) -> None:
    """Asks for a plan; nobody answers it, which does not matter here."""
    cloud.app.services.config.set_override("plan_timeout", 1, group="engine_rpc")
    cloud.member("POST", f"/v1/environments/{environment}/plan", X_Configuration_Session=session, status=504)


def used(cloud: Cloud, environment: str, session: str) -> dict[str, str]:
    """The versions that a deployment of the session is locked to."""
    cloud.member("POST", f"/v1/environments/{environment}/sessions/{session}/deploy")
    with cloud.database.reading() as database:
        [deployment] = deployments.of_environment(database, environment)
        return {entry["fqn"]: entry["version"] for entry in deployment.lock if entry["fqn"] != "io.murano"}


def test_what_was_planned_is_what_is_deployed(cloud: Cloud, core: None) -> None:
    uploaded(cloud.member, "org.shop.Host", version="0.1.0")
    environment, session = edited(cloud, "org.shop.Host")
    planned(cloud, environment, session)
    uploaded(cloud.member, "org.shop.Host", version="0.2.0")
    assert used(cloud, environment, session) == {"org.shop.Host": "0.1.0"}


def test_a_session_that_was_not_planned_takes_the_newest(cloud: Cloud, core: None) -> None:
    uploaded(cloud.member, "org.shop.Host", version="0.1.0")
    environment, session = edited(cloud, "org.shop.Host")
    uploaded(cloud.member, "org.shop.Host", version="0.2.0")
    assert used(cloud, environment, session) == {"org.shop.Host": "0.2.0"}


def test_a_lock_is_resolved_anew_when_the_model_or_its_packages_changed(cloud: Cloud, core: None) -> None:
    old = uploaded(cloud.member, "org.shop.Host", version="0.1.0")
    uploaded(cloud.member, "org.shop.Shop")
    environment, session = edited(cloud, "org.shop.Host")
    planned(cloud, environment, session)
    body = {"?": {"id": "shop", "type": "org.shop.Shop"}}
    cloud.member("POST", f"/v1/environments/{environment}/services", body, X_Configuration_Session=session)
    planned(cloud, environment, session)
    cloud.member("DELETE", f"/v1/catalog/packages/{old}")
    uploaded(cloud.member, "org.shop.Host", version="0.2.0")
    assert used(cloud, environment, session) == {"org.shop.Host": "0.2.0", "org.shop.Shop": "0.1.0"}
