"""What operators read and write: samples, policy files, the WSGI module, Keystone in place of the embedded identity."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import yaml
from catalog_cloud import Client, people
from keystonemiddleware import auth_token
from oslo_config import cfg

import engine.config
from catalog import config, policies, service
from catalog.db.base import Database
from catalog.identity import middleware
from cli import samples

ETC = Path(__file__).parents[2] / "etc"


@pytest.mark.parametrize("name", samples.FILES)
def test_a_sample_says_what_the_code_says(name: str) -> None:
    made = samples.FILES[name]()
    assert (ETC / name).read_text(encoding="utf-8") == made, f"run: python -m cli.samples {ETC}"


def test_a_sample_with_its_comments_removed_is_a_valid_configuration(tmp_path: Path) -> None:
    lines = [line[1:] if line[:1] == "#" and " = " in line and line[1] != " " else line
             for line in samples.configuration().splitlines()]  # fmt: skip
    lines = [line for line in lines if line.rstrip().rpartition(" =")[2] or not line.rstrip().endswith(" =")]
    (tmp_path / "chandlery.conf").write_text("\n".join(line for line in lines if not line.startswith("#[")))
    conf = config.load([str(tmp_path / "chandlery.conf")])
    assert conf.packages.size_limit == 5
    assert engine.config.load([str(tmp_path / "chandlery.conf")]).engine.lease == engine.config.load().engine.lease
    with pytest.raises(cfg.ConfigFilesNotFoundError):
        config.load([str(tmp_path / "missing.conf")])
    (tmp_path / "bad.conf").write_text("[packages]\nsize_limit = many\n")
    with pytest.raises(ValueError, match="size_limit"):
        _ = config.load([str(tmp_path / "bad.conf")]).packages.size_limit


def test_every_option_and_every_rule_is_explained() -> None:
    for _group, options in config.list_options():
        assert all(option.help for option in options)
    rules = policies.list_rules()
    assert all(rule.description for rule in rules)
    assert len({rule.name for rule in rules}) == len(rules)
    assert isinstance(yaml.safe_load(samples.policy_rules().replace('#"', '"')), dict)


def test_an_operators_policy_file_changes_who_may_what(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text('"create_environment": "role:admin"\n"add_category": ""\n')
    (tmp_path / "chandlery.conf").write_text(
        f"[database]\nconnection = sqlite:///{tmp_path}/c.sqlite\n[oslo_policy]\npolicy_file = {tmp_path}/policy.yaml\n"
    )
    conf = config.load([str(tmp_path / "chandlery.conf")])
    database = Database(conf.database.connection)
    database.create_tables()
    app = service.create_app(conf, database=database)
    cloud = people(app, database)
    answer = cloud.member("POST", "/v1/environments", {"name": "x"}, status=403)
    assert "Policy rule create_environment" in answer.text
    cloud.admin("POST", "/v1/environments", {"name": "x"})
    cloud.member("POST", "/v1/catalog/categories", {"name": "x"})
    app.close()


def test_the_wsgi_module_serves_what_its_configuration_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "chandlery.conf").write_text(f"[database]\nconnection = sqlite:///{tmp_path}/c.sqlite\n")
    monkeypatch.setenv("CHANDLERY_CONFIG", str(tmp_path / "chandlery.conf"))
    module = importlib.import_module("catalog.wsgi")
    assert Client(module.application)("GET", "/healthcheck").text == "OK"
    module.application.close()


def test_keystone_guards_the_api_when_it_is_configured(tmp_path: Path) -> None:
    (tmp_path / "chandlery.conf").write_text(
        f"[database]\nconnection = sqlite:///{tmp_path}/c.sqlite\n[identity]\nauth = keystone\n"
        "[keystone_authtoken]\nauth_type = password\nauth_url = http://127.0.0.1:1/v3\n"
        "www_authenticate_uri = http://keystone.example.org/v3\nusername = u\npassword = p\nproject_name = service\n"
        "user_domain_id = default\nproject_domain_id = default\n"
    )
    conf = config.load([str(tmp_path / "chandlery.conf")])
    database = Database(conf.database.connection)
    assert isinstance(middleware.guard(lambda *_: [], conf, database), auth_token.AuthProtocol)
    app = service.create_app(conf, database=database)
    answer = Client(app)("GET", "/v1/environments", X_Roles="admin", X_Project_Id="p", status=401)
    assert answer.headers["WWW-Authenticate"] == 'Keystone uri="http://keystone.example.org/v3"'
    assert answer.headers["x-openstack-request-id"].startswith("req-")
    Client(app)("GET", "/identity/v3", status=300)
    app.close()
