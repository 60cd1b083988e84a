"""Rules of packages."""

from __future__ import annotations

from catalog.policies.base import ADMIN, ANYBODY, WRITER, rule

RULES = (
    rule(
        "get_package",
        ANYBODY,
        "List, search and show packages, their forms, logos, dependencies and dependents.",
        ("GET", "/v1/catalog/packages"),
        ("GET", "/v1/catalog/packages/{package_id}"),
        ("GET", "/v1/catalog/packages/{package_id}/ui"),
        ("GET", "/v1/catalog/packages/{package_id}/logo"),
        ("GET", "/v1/catalog/packages/{package_id}/supplier_logo"),
        ("GET", "/v1/catalog/packages/{package_id}/dependencies"),
        ("GET", "/v1/catalog/packages/{package_id}/dependents"),
    ),
    rule(
        "upload_package",
        WRITER,
        "Upload a package, or import one from a repository.",
        ("POST", "/v1/catalog/packages"),
        ("POST", "/v1/catalog/imports"),
        ("POST", "/v1/catalog/imports/file"),
    ),
    rule("modify_package", WRITER, "Change a package's data.", ("PATCH", "/v1/catalog/packages/{package_id}")),
    rule(
        "change_package_lifecycle",
        WRITER,
        "Deprecate, yank and restore a version of a package.",
        ("PUT", "/v1/catalog/packages/{package_id}/lifecycle"),
    ),
    rule(
        "share_package",
        WRITER,
        "Share one's own package with chosen projects.",
        ("GET", "/v1/catalog/packages/{package_id}/shares"),
        ("PUT", "/v1/catalog/packages/{package_id}/shares/{project_id}"),
        ("DELETE", "/v1/catalog/packages/{package_id}/shares/{project_id}"),
    ),
    rule("delete_package", WRITER, "Delete a package.", ("DELETE", "/v1/catalog/packages/{package_id}")),
    rule("download_package", ANYBODY, "Download an archive.", ("GET", "/v1/catalog/packages/{package_id}/download")),
    rule(
        "publicize_package",
        ADMIN,
        "Make a package public.",
        ("POST", "/v1/catalog/packages"),
        ("PATCH", "/v1/catalog/packages/{package_id}"),
    ),
    rule(
        "manage_public_package",
        ANYBODY,
        "See public packages outside catalog mode; change and delete one's own public packages.",
        ("GET", "/v1/catalog/packages"),
        ("PATCH", "/v1/catalog/packages/{package_id}"),
        ("DELETE", "/v1/catalog/packages/{package_id}"),
    ),
)
