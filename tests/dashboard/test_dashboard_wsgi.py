"""The dashboard as a WSGI application of its own, configured by environment variables."""

from __future__ import annotations

import pytest
import webob
from cryptography import fernet

from dashboard import app, wsgi

VARIABLES = {
    "CHANDLERY_API_URL": "http://127.0.0.1:9/",
    "CHANDLERY_AUTH_URL": "http://127.0.0.1:9/identity/v3",
    "CHANDLERY_COOKIE_KEY": fernet.Fernet.generate_key().decode(),
}


def test_what_is_missing_is_named():
    with pytest.raises(ValueError, match="CHANDLERY_AUTH_URL, CHANDLERY_COOKIE_KEY"):
        wsgi.configuration({"CHANDLERY_API_URL": "http://x"})


def test_it_shows_the_login_when_mounted():
    request = webob.Request.blank("/login", environ={"SCRIPT_NAME": "/dashboard"})
    answer = request.get_response(app.create_app(wsgi.configuration(VARIABLES)))
    assert answer.status_int == 200
    assert "Log in" in answer.text


def test_a_service_that_is_not_there_is_a_page_that_says_so():
    form = {"username": "demo", "password": "x", "project": "demo"}
    request = webob.Request.blank("/login", POST=form, headers={"Sec-Fetch-Site": "same-origin"})
    request.environ["SCRIPT_NAME"] = "/dashboard"
    answer = request.get_response(app.create_app(wsgi.configuration(VARIABLES)))
    assert answer.status_int == 502
    assert "does not answer" in answer.text
