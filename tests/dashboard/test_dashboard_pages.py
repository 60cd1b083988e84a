"""The dashboard in front of a real catalog over HTTP: what a tenant sees, and what nobody may do."""

from __future__ import annotations

import contextlib
import http.client
import xml.etree.ElementTree

import pytest
import requests
from cryptography import fernet
from dashboard_service import PASSWORD, station

from dashboard import security


def test_without_a_login_every_page_leads_to_the_login_and_back(root, visitor):
    page = visitor.get(f"{root}/dashboard/catalog/?search=x")
    assert page.url == f"{root}/dashboard/login?next=/dashboard/catalog/%3Fsearch%3Dx"
    form = {"username": "demo", "password": PASSWORD, "project": "demo", "next": "/dashboard/catalog/?search=x"}
    assert visitor.post(f"{root}/dashboard/login", data=form).url == f"{root}/dashboard/catalog/?search=x"


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/", "//evil.example/", "/dashboard/..//evil", "/\\evil.example"]
)
def test_a_login_leads_to_no_other_site(root, visitor, elsewhere):
    form = {"username": "demo", "password": PASSWORD, "project": "demo", "next": elsewhere}
    answer = visitor.post(f"{root}/dashboard/login", data=form, allow_redirects=False)
    assert answer.headers["Location"].endswith("/dashboard/")


def test_a_wrong_password_is_said_without_saying_which_part(root, visitor):
    answer = visitor.post(f"{root}/dashboard/login", data={"username": "demo", "password": "no", "project": "demo"})
    assert answer.status_code == 401
    assert "User, password or project is wrong." in answer.text


def test_the_session_cookie_is_out_of_reach_of_scripts_and_other_sites(root, visitor):
    form = {"username": "demo", "password": PASSWORD, "project": "demo"}
    answer = visitor.post(f"{root}/dashboard/login", data=form, allow_redirects=False)
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "Path=/dashboard" in cookie
    assert PASSWORD not in cookie


def test_a_forged_cookie_is_nobody(root, visitor):
    visitor.cookies.set(security.COOKIE, fernet.Fernet(fernet.Fernet.generate_key()).encrypt(b"{}").decode())
    assert "/login" in visitor.get(f"{root}/dashboard/").url


def test_every_answer_has_a_strict_policy(root, tenant):
    for path in ("/dashboard/", "/dashboard/static/style.css", "/dashboard/nothing"):
        policy = tenant.get(f"{root}{path}").headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": None, "Origin": "http://evil.example"},
        {"Sec-Fetch-Site": None},
    ],
)
def test_another_site_cannot_make_a_change(root, tenant, headers):
    assert tenant.post(f"{root}/dashboard/logout", headers=headers).status_code == 403


def test_the_catalog_shows_applications_and_searches_while_typing(root, tenant):
    page = tenant.get(f"{root}/dashboard/catalog/").text
    assert "Container Host" in page
    assert "org.chandlery.containers<" not in page
    cards = tenant.get(f"{root}/dashboard/catalog/?search=nothing-like-it", headers={"HX-Request": "true"}).text
    assert "Nothing matches" in cards
    assert "<html" not in cards


def test_a_package_shows_what_it_depends_on_and_its_logo(root, tenant, api):
    found = api.get(f"{root}/v1/catalog/packages?fqn=org.chandlery.containers.Host").json()["packages"][0]
    page = tenant.get(f"{root}/dashboard/catalog/{found['id']}/").text
    assert "org.chandlery.containers</code>" in page
    logo = tenant.get(f"{root}/dashboard/catalog/{found['id']}/logo")
    assert logo.headers["Content-Type"] == "image/png"
    assert logo.content.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("query", "letter"), [("initial=M&hue=3", ">M<"), ("initial=%3Cscript&hue=x", ">&lt;<"), ("", "><")]
)
def test_a_package_without_a_logo_gets_one_drawn_of_its_initial(root, tenant, api, query, letter):
    found = api.get(f"{root}/v1/catalog/packages?fqn=io.murano").json()["packages"][0]
    logo = tenant.get(f"{root}/dashboard/catalog/{found['id']}/logo?{query}")
    assert logo.headers["Content-Type"].startswith("image/svg+xml")
    assert letter in logo.text
    assert xml.etree.ElementTree.fromstring(logo.content).tag.endswith("svg")


def test_an_environment_shows_its_applications_as_text_whatever_they_are_called(root, tenant, api):
    created = api.post(f"{root}/v1/environments", json={"name": "<b>bold</b>"}).json()
    page = tenant.get(f"{root}/dashboard/environments/{created['id']}/")
    assert page.status_code == 200
    assert "&lt;b&gt;bold&lt;/b&gt;" in page.text
    assert "<b>bold</b>" not in page.text
    assert tenant.get(f"{root}/dashboard/environments/{created['id']}/topology").json() == {"nodes": [], "edges": []}


def test_what_is_not_there_is_a_page_that_says_so(root, tenant):
    for path in ("/dashboard/environments/0000/", "/dashboard/nothing/at/all", "/dashboard/catalog/0000/"):
        answer = tenant.get(f"{root}{path}")
        assert answer.status_code == 404
        assert "<main" in answer.text


def test_a_change_by_a_mere_link_is_refused(root, tenant, api):
    created = api.post(f"{root}/v1/environments", json={"name": "untouched"}).json()
    assert tenant.get(f"{root}/dashboard/environments/{created['id']}/deploy").status_code == 405
    assert api.get(f"{root}/v1/environments/{created['id']}/deployments").json() == {"deployments": []}


@pytest.mark.parametrize("path", ["/static/../app.py", "/static/%2e%2e/app.py", "/vendor/../package.json", "/vendor/x"])
def test_only_the_files_meant_for_browsers_are_served(root, path):
    request = requests.Request("GET", f"{root}/dashboard/x").prepare()
    request.url = f"{root}/dashboard{path}"
    assert requests.Session().send(request).status_code == 404


def test_logging_out_forgets_the_session(root, tenant):
    assert tenant.post(f"{root}/dashboard/logout").url == f"{root}/dashboard/login"
    assert "/login" in tenant.get(f"{root}/dashboard/").url


def test_a_form_that_no_page_of_ours_sends_is_refused_in_words(root, tenant, api):
    environment = api.create("asked twice")
    answer = tenant.post(f"{root}/dashboard/environments/{environment}/act", data=[("action", "a"), ("action", "b")])
    assert answer.status_code == 400
    assert "a field is there twice" in answer.text


@pytest.mark.parametrize("page", ["act", "deploy", "deployments/x/cancel"])
def test_a_mere_link_changes_nothing(root, tenant, api, page):
    environment = next(each for each in api.get(f"{root}/v1/environments").json()["environments"])["id"]
    assert tenant.get(f"{root}/dashboard/environments/{environment}/{page}").status_code == 405


def test_a_link_to_the_deletion_only_asks(root, tenant, api):
    environment = api.create("to be kept")
    assert "Delete to be kept?" in tenant.get(f"{root}/dashboard/environments/{environment}/delete").text
    assert api.get(f"{root}/v1/environments/{environment}").status_code == 200


def test_who_was_logged_out_meanwhile_comes_back_to_the_page_of_the_form(root, visitor):
    page = "/dashboard/environments/x/"
    answer = visitor.post(f"{root}{page}act", headers={"Referer": f"{root}{page}"}, allow_redirects=False)
    assert answer.headers["Location"].endswith(f"/dashboard/login?next={page}")


def test_an_unknown_package_is_not_imported_and_told(root, tenant):
    answer = tenant.post(f"{root}/dashboard/repositories/bring", data={"name": "org.example.Nothing"})
    assert answer.status_code == 404
    assert "No repository has a package org.example.Nothing" in answer.text


@pytest.mark.parametrize(
    "path", ["environments/../catalog/", "environments/%2e%2e/", "catalog/a%2F..%2Fb/", "catalog/x%3Fy/"]
)
def test_ids_cannot_lead_to_another_path_of_the_api(root, tenant, path):
    cookie = "; ".join(f"{each.name}={each.value}" for each in tenant.cookies)
    connection = http.client.HTTPConnection(root.removeprefix("http://"))
    with contextlib.closing(connection):  # other clients resolve the dots themselves
        connection.request("GET", f"/dashboard/{path}", headers={"Cookie": cookie})
        assert connection.getresponse().status == 404


def test_the_stream_of_an_unknown_deployment_is_not_found(root, tenant, api):
    environment = api.create("quiet")
    assert tenant.get(f"{root}/dashboard/environments/{environment}/events?deployment=none").status_code == 404


def test_after_cancelling_the_page_says_so_until_the_end(root, tenant, api):
    environment = api.create("endless")
    deployment = api.deploy(environment, api.compose(environment, [station("endless", pace=600)]), wait=False)
    page = f"{root}/dashboard/environments/{environment}/"
    assert f"deployments/{deployment}/cancel" in tenant.get(page).text
    told = tenant.get(f"{page}?cancelled={deployment}").text
    assert "It is being cancelled" in told
    assert f"deployments/{deployment}/cancel" not in told
    answer = tenant.post(f"{page}deployments/{deployment}/cancel", allow_redirects=False)
    assert answer.headers["Location"].endswith(f"/?cancelled={deployment}")
    api.wait(environment, deployment)
    ended = tenant.get(f"{page}?cancelled={deployment}").text
    assert "It is being cancelled" not in ended
    assert "Deploy failed." in ended
