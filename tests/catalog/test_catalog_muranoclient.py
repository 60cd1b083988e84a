"""The unmodified `murano` command against a running service: what operators have in their scripts."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from catalog_cloud import Cloud, archive_of
from cheroot import wsgi

shell = pytest.importorskip("muranoclient.shell", reason="python-muranoclient is not installed")


@pytest.fixture
def murano(
    cloud: Cloud, core: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """Runs `murano` as the member of project one (in this process, which saves its start); gives what it prints."""
    server = wsgi.Server(("127.0.0.1", 0), cloud.app, numthreads=4)
    server.prepare()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    root = f"http://127.0.0.1:{server.bind_addr[1]}"

    def run(*arguments: str, fails: bool = False, user: str = "ann", project: str = "one") -> str:
        environment = {
            "OS_AUTH_URL": f"{root}/identity/v3",
            "OS_USERNAME": user,
            "OS_PASSWORD": f"secret-{user}",
            "OS_PROJECT_NAME": project,
            "OS_USER_DOMAIN_NAME": "Default",
            "OS_PROJECT_DOMAIN_NAME": "Default",
            "OS_REGION_NAME": "RegionOne",
            "MURANO_REPO_URL": root,
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        failure: BaseException | None = None
        handlers = logging.getLogger().handlers[:]  # the client adds one per run, to a stream of this run only
        try:
            shell.MuranoShell().main(list(arguments))
        except (Exception, SystemExit) as raised:  # what its main() turns into an exit code
            failure = raised
        finally:
            logging.getLogger().handlers[:] = handlers
        output = capsys.readouterr()
        text = f"{output.out}{output.err}{failure or ''}"
        assert (failure is not None) is fails, f"murano {arguments}: {failure!r}\n{text}"
        return text

    yield run
    server.stop()
    thread.join()


def cell(table: str, name: str) -> str:
    """The value beside a name in a two-column table."""
    for line in table.splitlines():
        columns = [column.strip() for column in line.split("|")]
        if len(columns) >= 3 and columns[1] == name:
            return columns[2]
    raise AssertionError(f"no {name} in\n{table}")


def row_with(table: str, text: str) -> list[str]:
    """The cells of the first row that has a text."""
    for line in table.splitlines():
        columns = [column.strip() for column in line.split("|")]
        if text in columns:
            return columns[1:-1]
    raise AssertionError(f"no row with {text} in\n{table}")


def test_a_package_is_imported_an_environment_composed_and_deployed(murano: Any, cloud: Cloud, tmp_path: Path) -> None:
    path = tmp_path / "app.zip"
    path.write_bytes(archive_of("org.example.App"))
    imported = murano("package-import", str(path), "-c", "Web", "--exists-action", "s")
    assert "org.example.App" in imported
    listed = row_with(murano("package-list"), "org.example.App")
    shown = murano("package-show", listed[0])
    assert "org.example.App" in cell(shown, "fully_qualified_name")

    created = murano("environment-create", "shop")
    environment_id = row_with(created, "shop")[0]
    session_id = cell(murano("environment-session-create", environment_id), "id")
    edit = tmp_path / "edit.json"
    edit.write_text(
        '[{"op": "add", "path": "/-", "value": {"?": {"type": "org.example.App", "id": "===id1==="}, "name": "web"}}]'
    )
    murano("environment-apps-edit", "--session-id", session_id, environment_id, str(edit))
    deployed = murano("environment-deploy", environment_id, "--session-id", session_id)
    assert cell(deployed, "status") == "deploying"
    assert cell(murano("environment-show", environment_id), "acquired_by") == session_id
    assert row_with(murano("deployment-list", environment_id), "running")
    assert row_with(murano("environment-list"), "shop")[2] == "deploying"


def test_importing_the_same_package_again_is_skipped_updated_or_refused_as_asked(murano: Any, tmp_path: Path) -> None:
    path = tmp_path / "app.zip"
    path.write_bytes(archive_of("org.example.App"))
    murano("package-import", str(path), "--exists-action", "s")
    first = row_with(murano("package-list"), "org.example.App")[0]
    murano("package-import", str(path), "--exists-action", "s")
    assert row_with(murano("package-list"), "org.example.App")[0] == first
    murano("package-import", str(path), "--exists-action", "u")
    assert row_with(murano("package-list"), "org.example.App")[0] != first


def test_what_goes_wrong_is_a_sentence_and_not_a_crash_of_the_client(murano: Any, tmp_path: Path) -> None:
    unknown = murano("environment-show", "0" * 32, fails=True)
    assert "No environment with a name or ID" in unknown or "not found" in unknown.lower()
    murano("environment-create", "twice")
    again = murano("environment-create", "twice", fails=True)
    assert "already exists" in again
    forbidden = murano("category-create", "Mine", fails=True)
    assert "add_category" in forbidden
    path = tmp_path / "bad.zip"
    path.write_bytes(archive_of("org.example.Bad", Version="not a version"))
    assert "Version" in murano("package-import", str(path), fails=True)


def test_categories_templates_and_models_have_their_commands(murano: Any, cloud: Cloud, tmp_path: Path) -> None:
    assert row_with(murano("category-list"), "Databases")
    murano("category-create", "Mine", user="root", project="admin")
    assert row_with(murano("category-list"), "Mine")
    template_id = row_with(murano("env-template-create", "stack"), "stack")[0]
    app = tmp_path / "app.json"
    app.write_text('{"?": {"type": "org.example.App", "id": "a1"}, "name": "web"}')
    assert "a1" in murano("env-template-add-app", template_id, str(app))
    created = murano("env-template-create-env", template_id, "from-template")
    environment_id, session_id = cell(created, "environment_id"), cell(created, "session_id")
    assert '"name": "from-template"' in murano("environment-model-show", environment_id)
    model = murano("environment-model-show", environment_id, "--path", "services/a1/name", "--session-id", session_id)
    assert '"web"' in model
    murano("env-template-del-app", template_id, "a1")
    murano("environment-rename", environment_id, "renamed")
    assert row_with(murano("environment-list"), "renamed")
    murano("environment-delete", environment_id)
    assert "renamed" not in murano("environment-list")
