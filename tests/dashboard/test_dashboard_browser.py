"""The dashboard in a real browser, in front of a real service: what a tenant sees, does, and hears of at once."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import time

import pytest
import requests
from dashboard_service import LONG, PASSWORD, station

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZES = {"wide": {"width": 1280, "height": 800}, "phone": {"width": 360, "height": 740}}
NAMES = (f"environment-{number}" for number in itertools.count(1))

playwright = pytest.importorskip("playwright.sync_api", reason="the Python package playwright is not installed")
expect = playwright.expect
expect.set_options(timeout=45_000)  # the machine may be busy


@pytest.fixture(scope="module")
def browser():
    """A browser of this machine."""
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip(f"no browser here: none of {', '.join(BROWSERS)} is on the path")
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def cookies(root):
    """The session cookie of the demo account."""
    session = requests.Session()
    form = {"username": "demo", "password": PASSWORD, "project": "demo"}
    session.post(f"{root}/dashboard/login", data=form, headers={"Sec-Fetch-Site": "same-origin"}, allow_redirects=False)
    return [{"name": c.name, "value": c.value, "url": f"{root}/dashboard/"} for c in session.cookies]


@pytest.fixture(scope="module")
def open_context(browser, cookies, root):
    """Makes a context of the browser: cookies and cache of its own, a size, a scheme, with or without scripts."""

    def make(*, login: bool = True, size: str = "wide", **options):
        context = browser.new_context(base_url=root, viewport=SIZES[size], **options)
        context.set_default_timeout(45_000)
        if login:
            context.add_cookies(cookies)
        return context

    return make


@pytest.fixture(scope="module")
def usual(open_context):
    """The context of all tests that need nothing special: its cache makes them faster."""
    with contextlib.closing(open_context()) as context:
        yield context


@pytest.fixture
def visit(usual, open_context):
    """Opens pages; at the end, none of them may have complained in the console, nor about the policy.

    `visit(path, complaining=True)` for pages that are errors themselves; more options ask for a context of its own.
    """
    complaints: list[str] = []
    with contextlib.ExitStack() as stack:

        def open_page(path: str, *, complaining: bool = False, **options):
            context = stack.enter_context(contextlib.closing(open_context(**options))) if options else usual
            page = stack.enter_context(contextlib.closing(context.new_page()))
            if not complaining:
                page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
                page.on("pageerror", lambda error: complaints.append(str(error)))
            page.goto(path)
            return page

        yield open_page
    assert complaints == []


@pytest.fixture(scope="module")
def railway(api):
    """An environment with two stations, one of which needs the other and has two parts."""
    environment = api.create("railway")
    parts = [station("platform-1"), station("platform-2", needs=["north"])]
    applications = [station("north"), station("south", needs=["north"], parts=parts)]
    api.deploy(environment, api.compose(environment, applications))
    return environment


@pytest.fixture(scope="module")
def wreck(api):
    """An environment whose deployment failed."""
    environment = api.create(LONG)
    api.deploy(environment, api.compose(environment, [station("broken", failing=True), station(LONG)]))
    return environment


@pytest.fixture(scope="module")
def metropolis(api):
    """An environment of a hundred stations."""
    environment = api.create("metropolis")
    stations = [station(f"s{i}", needs=sorted({f"s{i // 2}", f"s{i // 3}"} - {f"s{i}"})) for i in range(100)]
    api.deploy(environment, api.compose(environment, stations))
    return environment


def address(environment: str) -> str:
    return f"/dashboard/environments/{environment}/"


def test_a_tenant_logs_in_and_sees_the_overview(visit, railway):
    page = visit("/dashboard/", login=False)
    page.get_by_label("User").fill("demo")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Environments")).to_be_visible()
    expect(page.get_by_role("link", name="railway")).to_contain_text("Ready")
    expect(page.get_by_text("A test: nothing of this is real.")).to_be_visible()


def test_the_catalog_is_searched_while_typing(visit):
    page = visit("/dashboard/catalog/")
    expect(page.get_by_role("link", name="Container Host")).to_be_visible()
    page.get_by_role("searchbox").press_sequentially("trains")
    expect(page.get_by_role("link", name="Container Host")).to_have_count(0)
    expect(page.get_by_role("link", name="Station")).to_be_visible()
    assert page.url.endswith("/dashboard/catalog/")


def test_a_package_shows_its_logo_and_what_it_depends_on(visit):
    page = visit("/dashboard/catalog/")
    page.get_by_role("link", name="Container Host").click()
    expect(page.get_by_text("org.chandlery.containers", exact=True)).to_be_visible()
    page.wait_for_function("document.querySelector('.logo img').naturalWidth > 0")


def test_a_package_without_a_logo_has_one_drawn_even_without_scripts(visit):
    page = visit("/dashboard/catalog/?search=station", java_script_enabled=False)
    image = page.locator(".card", has_text="Station").locator(".logo img")
    expect(image).to_be_visible()
    drawn = page.context.request.get(image.get_attribute("src"))
    assert ">S</text>" in drawn.text()


def test_a_logo_that_cannot_be_shown_gives_way_to_the_initial(visit):
    page = visit("/dashboard/", complaining=True)
    page.route("**/logo?*", lambda route: route.fulfill(status=200, content_type="image/png", body="no picture"))
    page.goto("/dashboard/catalog/?search=station")
    expect(page.locator(".card", has_text="Station").locator(".logo img")).to_be_hidden()
    expect(page.locator(".card", has_text="Station").locator(".initial")).to_have_text("S")


def test_the_topology_is_drawn_and_says_that_it_is_simulated(visit, railway):
    page = visit(address(railway))
    expect(page.locator("#topology .node")).to_have_count(4)
    expect(page.locator("#topology path.edge:not(.owns)")).to_have_count(2)
    expect(page.locator("#topology path.owns")).to_have_count(2)
    for node in page.locator("#topology .node").all():
        expect(node).to_contain_text("simulated")
    before = page.locator("#topology .node").first.bounding_box()["width"]
    page.get_by_role("button", name="Smaller").click()
    assert page.locator("#topology .node").first.bounding_box()["width"] < before
    page.get_by_text("As a list").click()
    expect(page.get_by_text("platform-2 Station · needs: north")).to_be_visible()


def test_a_hundred_nodes_are_drawn_and_do_not_drown_the_page(visit, metropolis):
    page = visit(address(metropolis))
    expect(page.locator("#topology .node")).to_have_count(100)
    assert page.evaluate("document.documentElement.scrollHeight") < 5000
    page.get_by_role("button", name="Fit").click()
    assert page.evaluate("(place => place.scrollWidth <= place.clientWidth + 1)(document.getElementById('topology'))")


def test_reports_appear_while_a_deployment_runs_and_the_page_follows_its_end(visit, api):
    environment = api.create(next(NAMES))
    session = api.compose(environment, [station("early", pace=2.5), station("late", pace=3.5)])
    api.deploy(environment, session, wait=False)
    page = visit(address(environment))
    expect(page.locator("#reports")).to_contain_text("early is on its way")
    expect(page.locator("#state")).to_have_text("Running")
    expect(page.locator("#reports")).not_to_contain_text("has arrived")
    expect(page.get_by_role("button", name="Cancel")).to_be_visible()
    page.evaluate("window.unchanged = true")
    expect(page.locator("#reports")).to_contain_text("early has arrived")
    assert page.evaluate("window.unchanged")
    expect(page.locator("#state")).to_have_text("Succeeded")
    expect(page.get_by_role("link", name="http://192.0.2.1/late")).to_be_visible()
    expect(page.locator("#reports li", has_text="early is on its way")).to_have_count(1)
    expect(page.locator("#topology .node")).to_have_count(2)


def test_a_stream_that_breaks_is_told_and_taken_up_again(visit, api, root):
    environment = api.create(next(NAMES))
    api.deploy(environment, api.compose(environment, [station("patient", pace=4)]), wait=False)
    page = visit("/dashboard/", complaining=True)
    refused = []

    def refuse_once(route):
        refused.append(route)
        if len(refused) == 1:
            route.fulfill(status=503, body="")
        else:
            route.continue_()

    page.route("**/events?*", refuse_once)
    page.goto(address(environment))
    expect(page.get_by_text("The connection is lost.")).to_be_visible()
    expect(page.locator("#state")).to_have_text("Succeeded")
    assert len(refused) >= 2


def test_a_running_deployment_is_cancelled(visit, api):
    environment = api.create(next(NAMES))
    api.deploy(environment, api.compose(environment, [station("endless", pace=600)]), wait=False)
    page = visit(address(environment))
    expect(page.locator("#reports")).to_contain_text("endless is on its way")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#state")).to_have_text("Failed")
    expect(page.get_by_role("alert")).to_contain_text("Deploy failed.")


def test_a_failed_deployment_says_why_and_shows_where(visit, wreck):
    page = visit(address(wreck))
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("Deploy failed. broken is stuck: no <b>steam</b>")
    alert.get_by_text("Details").click()
    expect(alert).to_contain_text('Classes/main.yaml", line 20')


def test_an_action_runs_by_its_button_and_its_result_is_shown(visit, railway):
    page = visit(address(railway))
    north = page.locator(".application", has_text="north").first
    assert north.locator(".row button").count() == 3
    north.get_by_role("button", name="whistle").click()
    expect(page.locator(".result pre")).to_contain_text('"whistled": 1')
    expect(page.get_by_role("heading", name="whistle: north Succeeded")).to_be_visible()


def test_an_action_of_an_inner_object_runs_with_arguments_and_stays_in_the_history(visit, railway):
    page = visit(address(railway))
    south = page.locator(".application", has_text="south").last
    south.get_by_text("All 30 actions, also with arguments").click()
    south.get_by_label("Action").select_option("platform-2_whistle")
    south.get_by_label("Arguments").fill("times=3\ntune=a long one")
    south.get_by_role("button", name="Run").click()
    expect(page.locator(".result pre")).to_contain_text('"tune": "a long one"')
    expect(page.locator(".result pre")).to_contain_text('"who": "platform-2"')
    page.locator(".rows .row", has_text="Deploy").last.click()
    expect(page.locator("#reports")).to_contain_text("south has arrived")


def test_arguments_that_are_none_are_explained_with_a_way_back(visit, railway):
    page = visit(address(railway), complaining=True)
    north = page.locator(".application", has_text="north").first
    north.get_by_text("also with arguments").click()
    north.get_by_label("Arguments").fill("three times")
    north.get_by_role("button", name="Run").click()
    expect(page.get_by_text("Arguments, line 1: expected name=value, found 'three times'.")).to_be_visible()
    page.get_by_role("link", name="Back").click()
    expect(page.get_by_role("heading", name="railway")).to_be_visible()


def test_an_environment_is_created_and_deleted_without_any_script(visit):
    page = visit("/dashboard/", java_script_enabled=False, complaining=True)
    name = next(NAMES)
    page.get_by_label("A new environment").fill(name)
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    expect(page.get_by_text("chandlery environment compose")).to_be_visible()
    page.goto("/dashboard/")
    page.get_by_label("A new environment").fill(name)
    page.get_by_role("button", name="Create").click()
    expect(page.get_by_role("alert")).to_contain_text("already exists")
    expect(page.get_by_label("A new environment")).to_have_value(name)
    page.get_by_role("link", name=name).click()
    page.get_by_role("link", name="Delete …").click()
    page.get_by_role("button", name="Delete it").click()
    expect(page.get_by_role("heading", name="Environments")).to_be_visible()
    expect(page.get_by_role("link", name=name, exact=True)).to_have_count(0)


def test_a_deployed_environment_is_deleted(visit, api, root):
    environment = api.create(next(NAMES))
    api.deploy(environment, api.compose(environment, [station("north")]))
    page = visit(address(environment))
    page.get_by_role("link", name="Delete …").click()
    expect(page.get_by_text("north Station")).to_be_visible()
    page.get_by_role("button", name="Delete it").click()
    page.wait_for_url("**/dashboard/")
    ends = time.monotonic() + 60
    while api.get(f"{root}/v1/environments/{environment}").status_code != 404:
        assert time.monotonic() < ends
        time.sleep(0.1)


def test_who_watches_an_environment_that_vanishes_is_led_to_the_overview(visit, api, root):
    environment = api.create(next(NAMES))
    api.deploy(environment, api.compose(environment, [station("north", pace=20)]), wait=False)
    page = visit(address(environment), complaining=True)
    expect(page.locator("#reports")).to_contain_text("north is on its way")
    assert api.delete(f"{root}/v1/environments/{environment}?abandon=true").status_code == 200
    page.wait_for_url("**/dashboard/")


def test_a_package_is_imported_with_all_it_requires(visit):
    page = visit("/dashboard/repositories/")
    page.get_by_role("searchbox").press_sequentially("grafana")
    expect(page.locator(".row", has_text="org.chandlery.kubernetes.Cluster ")).to_have_count(0)
    page.get_by_role("button", name="Import Grafana …").click()
    expect(page.locator(".row", has_text="org.chandlery.InfluxDB")).to_contain_text("Will be added")
    expect(page.locator(".row", has_text="org.chandlery.containers.Host")).to_contain_text("Is there already")
    page.get_by_label("Category").select_option("Containers")
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_role("heading", name="Grafana")).to_be_visible()
    expect(page.get_by_text("org.chandlery.kubernetes.Pod").first).to_be_visible()


def test_what_is_not_there_is_a_page_that_leads_on(visit):
    page = visit("/dashboard/environments/none/", complaining=True)
    expect(page.get_by_role("heading", name="Nothing here")).to_be_visible()
    page.get_by_role("link", name="To the overview").click()
    expect(page.get_by_role("heading", name="Environments")).to_be_visible()


@pytest.mark.parametrize(("size", "scheme"), [("wide", "light"), ("phone", "dark")])
def test_every_page_keeps_to_the_width_and_to_the_readers_scheme(
    visit, railway, wreck, api, root, size, scheme, tmp_path
):
    deployment = api.get(f"{root}/v1/environments/{railway}/deployments").json()["deployments"][0]["id"]
    package = api.get(f"{root}/v1/catalog/packages").json()["packages"][0]["id"]
    paths = [
        "",
        "catalog/",
        f"catalog/{package}/",
        "repositories/",
        f"environments/{railway}/",
        f"environments/{wreck}/",
    ]
    paths += [f"environments/{wreck}/delete", f"environments/{railway}/deployments/{deployment}/"]
    page = visit("/dashboard/login", size=size, color_scheme=scheme)
    for path in paths:
        page.goto(f"/dashboard/{path}")
        page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        excess = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert excess <= 0, f"{path} is {excess} pixels too wide"
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        brightness = sum(int(part) for part in paper.removeprefix("rgb(").removesuffix(")").split(",")) / 3
        assert (brightness > 128) is (scheme == "light"), f"{path}: {paper}"
        picture = page.screenshot(path=tmp_path / f"{paths.index(path)}.png")
        assert picture.startswith(b"\x89PNG")
        assert page.locator("h1").count() == 1


def test_the_keyboard_reaches_everything_and_shows_where_it_is(visit, railway):
    page = visit(address(railway))
    expect(page.locator("#topology .node")).to_have_count(4)
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    expect(skip).to_be_focused()
    assert skip.bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("main").get_by_role("link", name="Environments")).to_be_focused()
    reached = set()
    for _ in range(60):
        found = page.evaluate(
            """() => {
                const at = document.activeElement;
                return [at.textContent.trim() || at.name || at.id, getComputedStyle(at).outlineStyle, at.id];
            }"""
        )
        if found[0] == "" or page.evaluate("document.activeElement === document.body"):
            break
        assert found[1] != "none", f"{found[0]} has the focus and does not show it"
        reached.update((found[0], found[2]))
        page.keyboard.press("Tab")
    assert {"Deploy again", "Delete …", "whistle", "topology", "reports", "Fit", "As a list"} <= reached
