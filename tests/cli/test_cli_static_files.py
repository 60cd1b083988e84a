"""The web server of a built repository."""

from __future__ import annotations

import http.client
import socket

import pytest
import requests

from cli import errors, static_files


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    (folder / "apps").mkdir(parents=True)
    (folder / "apps" / "a.zip").write_bytes(b"PK")
    (tmp_path / "secret").write_text("s")
    (folder / "link").symlink_to(tmp_path / "secret")
    with static_files.serving(folder) as url:
        yield url


def test_a_file_is_served_and_cached_by_its_etag(repository):
    first = requests.get(f"{repository}/apps/a.zip")
    assert first.content == b"PK"
    again = requests.get(f"{repository}/apps/a.zip", headers={"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304


@pytest.mark.parametrize("path", ["/apps", "/", "/../secret", "/%2e%2e/secret", "/link", "/nothing"])
def test_folders_and_files_outside_are_not_found(repository, path):
    connection = http.client.HTTPConnection(repository.removeprefix("http://"))
    connection.request("GET", path)  # as it is: requests would tidy the path
    assert connection.getresponse().status == 404


def test_nothing_can_be_written(repository):
    assert requests.put(f"{repository}/apps/a.zip", data=b"x").status_code == 405


def test_a_port_in_use_is_one_clear_sentence(tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        taken = pytest.raises(errors.CommandError, match=f"Port {port} on 127.0.0.1 cannot be used")
        with taken, static_files.serving(tmp_path, port=port):
            pass


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(errors.CommandError, match="no such folder"), static_files.serving(tmp_path / "absent"):
        pass
