"""``chandlery package ...`` and ``chandlery category ...``: what the catalog holds, and how things get into it."""

from __future__ import annotations

import argparse
import pathlib
from typing import Any

import rich.tree

from cli import errors, imports
from cli.call import Call
from cli.commands import authoring, package_lifecycle, package_store


def register(subparsers: Any, shared: argparse.ArgumentParser) -> None:
    """Add the subcommands."""
    group = subparsers.add_parser(
        "package", help="packages: import, list, show, dependencies, dependents, delete, check"
    )
    actions = group.add_subparsers(metavar="ACTION", required=True)

    import_ = actions.add_parser(
        "import", parents=[shared], help="import packages with all they require: by name, from files or URLs"
    )
    import_.add_argument("names", nargs="+", metavar="NAME|FILE|URL", help="full package name, zip file, folder or URL")
    import_.add_argument("--version", metavar="SPEC", help="version range, as in Require (by name only)")
    imports.add_options(import_)
    import_.set_defaults(run=import_packages)

    list_ = actions.add_parser("list", parents=[shared], help="packages in the catalog")
    list_.add_argument("--search", metavar="WORDS")
    list_.add_argument("--category")
    list_.add_argument("--owned", action="store_true", help="only those of this project")
    list_.set_defaults(run=show_list)

    show_ = actions.add_parser("show", parents=[shared], help="one package")
    show_.add_argument("package", metavar="PACKAGE", help="id or full name")
    show_.set_defaults(run=show)

    tree_ = actions.add_parser("dependencies", parents=[shared], help="what a package requires, as a tree")
    tree_.add_argument("package", metavar="PACKAGE", help="id or full name")
    tree_.set_defaults(run=dependencies)

    users_ = actions.add_parser("dependents", parents=[shared], help="who uses a package: packages and environments")
    users_.add_argument("package", metavar="PACKAGE", help="id or full name")
    users_.set_defaults(run=dependents)

    delete_ = actions.add_parser("delete", parents=[shared], help="delete packages")
    delete_.add_argument("packages", nargs="+", metavar="PACKAGE", help="id or full name")
    delete_.set_defaults(run=delete)

    authoring.register(actions, shared)
    package_lifecycle.register(actions, shared)
    package_store.register(actions, shared)

    category = subparsers.add_parser("category", help="categories: list, create")
    category_actions = category.add_subparsers(metavar="ACTION", required=True)
    categories_ = category_actions.add_parser("list", parents=[shared], help="all categories")
    categories_.set_defaults(run=list_categories)
    create_ = category_actions.add_parser("create", parents=[shared], help="create a category (administrators)")
    create_.add_argument("name")
    create_.set_defaults(run=create_category)


def import_packages(call: Call) -> int:
    """Import each argument: what exists is uploaded, a URL is fetched, anything else is a name in a repository."""
    done: list[dict[str, Any]] = []
    for name in call.options.names:
        if pathlib.Path(name).exists():
            done += imports.from_path(call, pathlib.Path(name))
        elif name.startswith(("http://", "https://")):
            done += imports.from_url(call, name)
        elif name.endswith(".zip") or "/" in name:
            raise errors.CommandError(f"{name}: there is no such file, and it is not a package name either.")
        else:
            version = {"version": call.options.version} if call.options.version else {}
            done += imports.named(call, {"name": name, **version})
    imports.show(call, done)
    return errors.OK


def show_list(call: Call) -> int:
    """Packages visible to this project."""
    query = {"limit": 1000, "catalog": "true"}
    query |= {key: getattr(call.options, key) for key in ("search", "category") if getattr(call.options, key)}
    if call.options.owned:
        query["owned"] = "true"
    found = call.client.request("GET", "/catalog/packages", query=query)["packages"]
    columns = {
        "fully_qualified_name": "Package",
        "version": "Version",
        "name": "Name",
        "type": "Type",
        "author": "Author",
        "categories": "Categories",
        "is_public": "Public",
        "lifecycle": "Lifecycle",
    }
    call.output.rows(found, columns, empty="The catalog holds no such package.")
    return errors.OK


def show(call: Call) -> int:
    """One package, by id or name."""
    found = call.client.request("GET", f"/catalog/packages/{_identify(call, call.options.package)}")
    fields = {
        "fully_qualified_name": "Package",
        "version": "Version",
        "name": "Name",
        "type": "Type",
        "author": "Author",
        "description": "Description",
        "tags": "Tags",
        "categories": "Categories",
        "class_definitions": "Classes",
        "is_public": "Public",
        "enabled": "Enabled",
        "lifecycle": "Lifecycle",
        "lifecycle_reason": "Reason",
        "owner_id": "Project",
        "id": "Id",
        "created": "Imported",
    }
    call.output.one(found, fields)
    return errors.OK


def dependencies(call: Call) -> int:
    """The package's `Require` closure."""
    answer = call.client.request("GET", f"/catalog/packages/{_identify(call, call.options.package)}/dependencies")
    if call.output.format == "json":
        call.output.result(answer, "")
        return errors.OK
    call.output.console.print(_dependency_tree(answer["tree"]))
    call.output.rows(answer["lock"], {"fqn": "Package", "version": "Version", "digest": "Digest"}, empty="No lock.")
    return errors.OK


def dependents(call: Call) -> int:
    """Packages that require it, directly or through others, and environments that were deployed with it."""
    answer = call.client.request("GET", f"/catalog/packages/{_identify(call, call.options.package)}/dependents")
    if call.output.format == "json":
        call.output.result(answer, "")
        return errors.OK
    columns = {
        "fqn": "Package",
        "version": "Version",
        "through": "Requires",
        "requires": "In versions",
        "direct": "Directly",
    }
    call.output.rows(answer["packages"], columns, empty="No package requires it.")
    call.output.rows(
        answer["environments"],
        {"name": "Environment", "id": "Id", "tenant_id": "Project"},
        empty="No environment uses it.",
    )
    return errors.OK


def _dependency_tree(node: dict[str, Any], above: rich.tree.Tree | None = None) -> rich.tree.Tree:
    label = f"{node['fqn']} {node.get('version') or 'missing'}"
    branch = above.add(label) if above is not None else rich.tree.Tree(label)
    for child in node.get("packages", ()):
        _dependency_tree(child, branch)
    return branch


def delete(call: Call) -> int:
    """Delete by id or name."""
    for package in call.options.packages:
        call.client.request("DELETE", f"/catalog/packages/{_identify(call, package)}")
        call.output.result({"deleted": package}, f"Deleted {package}.")
    return errors.OK


def list_categories(call: Call) -> int:
    """All categories."""
    found = call.client.request("GET", "/catalog/categories")["categories"]
    call.output.rows(found, {"name": "Name", "package_count": "Packages", "id": "Id"}, empty="No category yet.")
    return errors.OK


def create_category(call: Call) -> int:
    """Create a category."""
    created = call.client.request("POST", "/catalog/categories", body={"name": call.options.name})
    call.output.result(created, f"Created category {created['name']} ({created['id']}).")
    return errors.OK


def _identify(call: Call, package: str) -> str:
    if "." not in package:
        return package
    query = {"fqn": package, "catalog": "true"}
    found = call.client.request("GET", "/catalog/packages", query=query)["packages"]
    exact = [item for item in found if item["fully_qualified_name"] == package]
    if not exact:
        raise errors.CommandError(
            f"The catalog holds no package {package}.", "chandlery package list shows what is there."
        )
    return str(exact[0]["id"])
