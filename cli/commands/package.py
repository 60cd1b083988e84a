"""``chandlery package ...`` and ``chandlery category ...``: what the catalog holds, and how things get into it."""

from __future__ import annotations

import argparse
import json
import pathlib
from typing import Any

import rich.tree

from cli import errors
from cli.call import Call
from cli.commands import authoring

# How a preview says what the import itself reports as done.
PREVIEWED = {"added": "would be added", "updated": "would be updated", "skipped": "is there"}


def register(subparsers: Any, shared: argparse.ArgumentParser) -> None:
    """Add the subcommands."""
    group = subparsers.add_parser(
        "package", help="packages: import, list, show, dependencies, dependents, delete, check"
    )
    actions = group.add_subparsers(metavar="ACTION", required=True)

    import_ = actions.add_parser(
        "import", parents=[shared], help="import by name from a repository with all it requires, or from files"
    )
    import_.add_argument("names", nargs="+", metavar="NAME|FILE", help="full package name, or a zip file or folder")
    import_.add_argument("--version", metavar="SPEC", help="version range, as in Require (by name only)")
    import_.add_argument("--category", action="append", default=[], dest="categories")
    import_.add_argument("--public", action="store_true", help="for all projects (needs the right to publish)")
    import_.add_argument(
        "--exists-action", choices=("s", "a", "u"), default="s", help="if it is there: skip, abort or update"
    )
    import_.add_argument("--preview", action="store_true", help="say what would be imported, import nothing")
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

    category = subparsers.add_parser("category", help="categories: list, create")
    category_actions = category.add_subparsers(metavar="ACTION", required=True)
    categories_ = category_actions.add_parser("list", parents=[shared], help="all categories")
    categories_.set_defaults(run=list_categories)
    create_ = category_actions.add_parser("create", parents=[shared], help="create a category (administrators)")
    create_.add_argument("name")
    create_.set_defaults(run=create_category)


def import_packages(call: Call) -> int:
    """Import each argument: an existing path is uploaded, anything else is a name in a configured repository."""
    options = call.options
    imported: list[dict[str, Any]] = []
    for name in options.names:
        if pathlib.Path(name).exists():
            imported.append(_upload(call, pathlib.Path(name)))
            continue
        if name.endswith(".zip") or "/" in name:
            raise errors.CommandError(f"{name}: there is no such file, and it is not a package name either.")
        body = {
            "name": name,
            "categories": options.categories,
            "is_public": options.public,
            "exists_action": options.exists_action,
            "preview": options.preview,
        }
        if options.version:
            body["version"] = options.version
        answered = call.client.request("POST", "/catalog/imports", body=body)["packages"]
        words = PREVIEWED if options.preview else {}
        imported += [{**item, "action": words.get(item["action"], item["action"])} for item in answered]
    call.output.rows(
        imported,
        {"fqn": "Package", "version": "Version", "action": "Action", "repository": "From", "id": "Id"},
        empty="Nothing to import.",
    )
    return errors.OK


def _upload(call: Call, path: pathlib.Path) -> dict[str, Any]:
    from dsl import packages

    try:
        package = packages.open_package(path)
    except packages.PackageError as error:
        raise errors.CommandError(f"{path} is not a package that can be imported.", *map(str, error.problems)) from None
    if call.options.preview:
        return {"fqn": package.manifest.full_name, "version": str(package.manifest.version), "action": "would be added"}
    description = {"categories": call.options.categories, "is_public": call.options.public}
    files = {
        "__metadata__": (None, json.dumps(description), "application/json"),
        "file": (f"{package.manifest.full_name}.zip", package.archive(), "application/octet-stream"),
    }
    stored = call.client.request("POST", "/catalog/packages", files=files)
    return {
        "fqn": stored["fully_qualified_name"],
        "version": str(package.manifest.version),
        "id": stored["id"],
        "action": "added",
        "repository": str(path),
    }


def show_list(call: Call) -> int:
    """Packages visible to this project."""
    query = {"limit": 1000, "catalog": "true"}
    query |= {key: getattr(call.options, key) for key in ("search", "category") if getattr(call.options, key)}
    if call.options.owned:
        query["owned"] = "true"
    found = call.client.request("GET", "/catalog/packages", query=query)["packages"]
    columns = {
        "fully_qualified_name": "Package",
        "name": "Name",
        "type": "Type",
        "author": "Author",
        "categories": "Categories",
        "is_public": "Public",
    }
    call.output.rows(found, columns, empty="The catalog holds no such package.")
    return errors.OK


def show(call: Call) -> int:
    """One package, by id or name."""
    found = call.client.request("GET", f"/catalog/packages/{_identify(call, call.options.package)}")
    fields = {
        "fully_qualified_name": "Package",
        "name": "Name",
        "type": "Type",
        "author": "Author",
        "description": "Description",
        "tags": "Tags",
        "categories": "Categories",
        "class_definitions": "Classes",
        "is_public": "Public",
        "enabled": "Enabled",
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
