"""Heat's own small resources: boot data in pieces, and random text."""

from __future__ import annotations

import email
import secrets
import string
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from typing import Any

import yaml

from engine.clouds.lab.resources.driver import Driver, ResourceError, sequence, text
from engine.clouds.lab.site import Site
from engine.clouds.lab.state import Record


class CloudConfig(Driver):
    """OS::Heat::CloudConfig: a cloud-config document."""

    type = "OS::Heat::CloudConfig"
    optional = frozenset({"cloud_config"})

    def create(self, site: Site, record: Record, stack: str) -> None:
        body = yaml.safe_dump(record.properties.get("cloud_config") or {}, default_flow_style=False, sort_keys=False)
        site.objects.put(
            record.physical, "config", stack=stack, config=f"#cloud-config\n{body}", subtype="cloud-config"
        )


class SoftwareConfig(Driver):
    """OS::Heat::SoftwareConfig: a script or other text."""

    type = "OS::Heat::SoftwareConfig"
    optional = frozenset({"config", "group", "inputs", "options", "outputs"})

    def create(self, site: Site, record: Record, stack: str) -> None:
        config = text(record.properties, "config") or ""
        site.objects.put(record.physical, "config", stack=stack, config=config, group=record.properties.get("group"))


class MultipartMime(Driver):
    """OS::Heat::MultipartMime: parts of boot data in one message, the same text for the same parts."""

    type = "OS::Heat::MultipartMime"
    optional = frozenset({"group", "parts"})

    def create(self, site: Site, record: Record, stack: str) -> None:
        message = MIMEMultipart(boundary=f"=={record.physical}==")
        for part in sequence(record.properties, "parts"):
            if not isinstance(part, dict) or not isinstance(part.get("config"), str):
                raise ResourceError(f"parts: expected maps with `config` (text or a configuration), found {part!r}")
            known = site.objects.get(part["config"])
            content = str(known["config"]) if known and known["kind"] == "config" else part["config"]
            if part.get("type") == "multipart":
                _merge(message, content)
            else:
                subtype = part.get("subtype") or (known or {}).get("subtype") or _subtype(content)
                attached = MIMEText(content, str(subtype), "utf-8")
                if part.get("filename"):
                    attached.add_header("Content-Disposition", "attachment", filename=str(part["filename"]))
                message.attach(attached)
        site.objects.put(record.physical, "config", stack=stack, config=message.as_string(), subtype="mixed")


class RandomString(Driver):
    """OS::Heat::RandomString: random text that stays the same for the resource's life."""

    type = "OS::Heat::RandomString"
    optional = frozenset({"character_classes", "character_sequences", "length", "salt", "sequence"})

    def create(self, site: Site, record: Record, stack: str) -> None:
        if site.objects.get(record.physical) is None:
            site.objects.put(record.physical, "random", stack=stack, value=_random(record.properties))

    def reference(self, site: Site, record: Record) -> str:
        return str((site.objects.get(record.physical) or {}).get("value", ""))


_CLASSES = {
    "lettersdigits": string.ascii_letters + string.digits, "letters": string.ascii_letters,
    "lowercase": string.ascii_lowercase, "uppercase": string.ascii_uppercase, "digits": string.digits,
    "hexdigits": string.digits + "ABCDEF", "octdigits": string.octdigits, "any": string.ascii_letters + string.digits,
}  # fmt: skip


def _random(properties: dict[str, Any]) -> str:
    length = int(properties.get("length", 32))
    if not 1 <= length <= 512:
        raise ResourceError(f"length: expected 1 to 512, found {length}")
    wanted = [(str(item.get("class", "lettersdigits")), int(item.get("min", 1)))
              for item in sequence(properties, "character_classes")]  # fmt: skip
    if not wanted:
        wanted = [(str(properties.get("sequence") or "lettersdigits"), 0)]
    unknown = [name for name, _ in wanted if name not in _CLASSES]
    if unknown:
        raise ResourceError(
            f"character_classes: unknown class {unknown[0]!r}; expected one of {', '.join(sorted(_CLASSES))}"
        )
    letters = [secrets.choice(_CLASSES[name]) for name, least in wanted for _ in range(least)]
    for item in sequence(properties, "character_sequences"):
        letters += [secrets.choice(str(item["sequence"])) for _ in range(int(item.get("min", 1)))]
    if len(letters) > length:
        raise ResourceError(f"length: {length} is less than the {len(letters)} characters that the classes require")
    everything = "".join(_CLASSES[name] for name, _ in wanted)
    letters += [secrets.choice(everything) for _ in range(length - len(letters))]
    secrets.SystemRandom().shuffle(letters)
    return "".join(letters)


def _merge(message: MIMEMultipart, content: str) -> None:
    for part in email.message_from_string(content).walk():
        if not part.is_multipart():
            message.attach(part)


def _subtype(content: str) -> str:
    for start, subtype in (
        ("#!", "x-shellscript"),
        ("#cloud-config", "cloud-config"),
        ("#cloud-boothook", "cloud-boothook"),
    ):
        if content.startswith(start):
            return subtype
    return "plain"


DRIVERS: tuple[Driver, ...] = (CloudConfig(), SoftwareConfig(), MultipartMime(), RandomString())
