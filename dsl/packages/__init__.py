"""Packages of MuranoPL code: archives, manifests, versions, class declarations.

`open_package` opens a folder, a zip file or its bytes; `check_package` reads everything in it and lists what is wrong.
"""

from __future__ import annotations

from dsl.errors import PackageError, Problem
from dsl.packages.archives import ArchiveLimits
from dsl.packages.check import check_package
from dsl.packages.declarations import (
    NO_DEFAULT,
    ArgumentDeclaration,
    ClassDeclaration,
    MethodDeclaration,
    PropertyDeclaration,
    read_declarations,
)
from dsl.packages.manifest import Manifest, read_manifest
from dsl.packages.namespaces import Namespaces
from dsl.packages.package import Package, open_package
from dsl.packages.versions import Version, VersionSpec

__all__ = [
    "NO_DEFAULT",
    "ArchiveLimits",
    "ArgumentDeclaration",
    "ClassDeclaration",
    "Manifest",
    "MethodDeclaration",
    "Namespaces",
    "Package",
    "PackageError",
    "Problem",
    "PropertyDeclaration",
    "Version",
    "VersionSpec",
    "check_package",
    "open_package",
    "read_declarations",
    "read_manifest",
]
