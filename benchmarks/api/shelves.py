"""A catalog of many packages to measure on: written straight into the tables, as uploads would have left them.

`fill(database, count)` is deterministic. Descriptions, tags, classes and forms have the sizes of published packages;
all packages share one archive, which lists and searches never read.
"""

from __future__ import annotations

import io
import json
import random
import zipfile

from catalog.db import base, categories, contents
from catalog.db import packages as stored

SEED = 20240517
CHUNK = 500  # packages written in one transaction
SUBJECT_WORDS = (
    "Web Data Log Mail Cache Queue Index Graph Media Proxy Vault Batch Stream Report Wiki Forum Shop Chat Auth Git"
)
KIND_WORDS = "Server Cluster Gateway Worker Monitor Broker Store Portal Engine Agent Console Mirror Router Archive"
DESCRIPTION_WORDS = (
    "deploys scales configures highly available application service servers node database traffic backup secure open "
    "source distributed fast simple modern tool users network storage messages requests pages accounts keys metrics "
    "events search logs plugin cluster replication failover balancing monitoring automation scripts container image"
)
SUBJECTS, KINDS, WORDS = SUBJECT_WORDS.split(), KIND_WORDS.split(), DESCRIPTION_WORDS.split()
VENDORS = [f"vendor{number:02}" for number in range(40)]
TAGS = [f"tag{number:03}" for number in range(200)]
FORM = """Version: 2.2
Application:
  ?: {{type: {fqn}}}
  name: $.appConfiguration.name
  instance: {{?: {{type: io.murano.resources.LinuxMuranoInstance}}, flavor: $.instanceConfiguration.flavor,
    image: $.instanceConfiguration.osImage, keyname: $.instanceConfiguration.keyPair}}
Forms:
  - appConfiguration:
      fields:
        - {{name: name, type: string, label: Application Name, initial: {name}, required: true,
           description: "Enter a name for the {name}. Only letters, numbers and dashes are allowed."}}
        - {{name: size, type: integer, label: Number of nodes, minValue: 1, maxValue: 16, initial: 1}}
        - {{name: adminPassword, type: password, label: Administrator password, descriptionTitle: Password}}
  - instanceConfiguration:
      fields:
        - {{name: flavor, type: flavor, label: Instance flavor, requirements: {{min_vcpus: 1, min_memory_mb: 1024}}}}
        - {{name: osImage, type: image, imageType: linux, label: Instance image}}
        - {{name: keyPair, type: keypair, label: Key Pair, required: false}}
"""


def fill(database: base.Database, count: int, owner_id: str) -> None:
    """Adds `count` public packages of `owner_id`: half of them versions of a package that is there already."""
    chance = random.Random(SEED)  # noqa: S311  the same catalog every time
    with database.transaction() as session:
        categories.seed(session)
        session.flush()
        archive = contents.store(session, archive_of("org.bench.Archive", "1.0.0"))
        tags = stored.tags_named(session, TAGS)
        shelves = list(categories.list_all(session))
        tag_ids, shelf_ids = [tag.id for tag in tags], [shelf.id for shelf in shelves]
    for start in range(0, count, CHUNK):
        with database.transaction() as session:
            by_id = {row.id: row for row in session.query(stored.Tag).filter(stored.Tag.id.in_(tag_ids))}
            shelf_by_id = {row.id: row for row in session.query(categories.Category)}
            for number in range(start, min(start + CHUNK, count)):
                row = _package(chance, number, archive, owner_id)
                row.tags = [by_id[each] for each in chance.sample(tag_ids, chance.randint(1, 5))]
                row.categories = [shelf_by_id[each] for each in chance.sample(shelf_ids, chance.choice((1, 1, 2)))]
                session.add(row)


def _package(chance: random.Random, number: int, archive: str, owner_id: str) -> stored.Package:
    pair, version = divmod(number, 2)
    subject, kind = SUBJECTS[pair % len(SUBJECTS)], KINDS[(pair // len(SUBJECTS)) % len(KINDS)]
    vendor = VENDORS[pair % len(VENDORS)]
    name = f"{subject} {kind} {pair}"
    fqn = f"org.{vendor}.{subject.lower()}.{kind}{pair}"
    row = stored.Package(
        fully_qualified_name=fqn,
        version=f"0.{version + 1}.0",
        owner_id=owner_id,
        name=name,
        type="Application" if chance.random() < 0.8 else "Library",
        format="MuranoPL/1.4",
        description=" ".join(chance.choices(WORDS, k=chance.randint(20, 45))),
        author=f"{vendor.title()} Incorporated",
        supplier={"Name": vendor, "CompanyUrl": {"Link": f"https://{vendor}.example"}},
        require={},
        is_public=True,
        enabled=True,
        digest=f"{number:064x}",
        archive_digest=archive,
        ui_definition=FORM.format(fqn=fqn, name=name),
    )
    row.class_definitions = [stored.ClassDefinition(name=f"{fqn}{part}") for part in ("", "Node", "Backup")]
    return row


def archive_of(fqn: str, version: str) -> bytes:
    """A package as small applications are: a manifest, two classes, a form, a plan and a script."""
    namespace, _, name = fqn.rpartition(".")
    manifest = {
        "Format": "MuranoPL/1.4",
        "Type": "Application",
        "FullName": fqn,
        "Name": name,
        "Version": version,
        "Description": "Measured while it is uploaded",
        "Author": "The benchmark",
        "Tags": ["bench"],
        "Classes": {fqn: "App.yaml", f"{fqn}Node": "Node.yaml"},
    }
    node = f"Namespaces:\n  =: {namespace}\n  std: io.murano\nName: {name}Node\nExtends: std:Object\n"
    steps = "".join(f"      - $x{number}: $.size + {number}\n" for number in range(20))
    app = (
        f"Namespaces:\n  =: {namespace}\n  std: io.murano\nName: {name}\nExtends: std:Application\nProperties:\n"
        f"  size:\n    Contract: $.int().notNull()\n    Default: 1\nMethods:\n  deploy:\n    Body:\n{steps}"
        "      - Return: $x1\n"
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.yaml", json.dumps(manifest))
        archive.writestr("Classes/App.yaml", app)
        archive.writestr("Classes/Node.yaml", node)
        archive.writestr("UI/ui.yaml", FORM.format(fqn=fqn, name=name))
        archive.writestr("Resources/Deploy.template", "FormatVersion: 2.0.0\nName: Deploy\nBody: return 1\n")
        archive.writestr("Resources/scripts/deploy.sh", "#!/bin/sh\n" + "echo step\n" * 50)
    return buffer.getvalue()
