"""The samples in `etc/`, made from the options and rules themselves: `python -m cli.samples etc`.

One configuration file serves API and engine, so one sample has the options of both. A test holds the files against
what is made here, so they cannot fall behind.
"""

from __future__ import annotations

import pathlib
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence

from oslo_config import cfg
from oslo_policy import policy

import catalog.config
import engine.config
from catalog import policies
from engine.clouds import openstack

WIDTH = 100
API, ENGINE = "the API", "the engine"

CONFIGURATION_HEAD = """\
# Chandlery's configuration, all options with their defaults. Copy it to /etc/chandlery/chandlery.conf and
# change what is different for you; what stays commented out is as it says here. API and engines read the same file.
"""
CONFIGURATION_TAIL = """\

# With [identity] auth = keystone: how to reach Keystone, as every OpenStack service is told.
#[keystone_authtoken]
#www_authenticate_uri = https://keystone.example.org/v3
#auth_url = https://keystone.example.org/v3
#auth_type = password
#username = chandlery
#password = ...
#project_name = service
#user_domain_name = Default
#project_domain_name = Default
#memcached_servers = 127.0.0.1:11211

# Keys that seal secrets in the database come from Barbican in place of [secrets] key_file: docs/secrets.md.
#[key_manager]
#backend = barbican
#auth_type = keystone_password
#auth_url = https://keystone.example.org/v3
#username = chandlery
#password = ...
#project_name = service
#user_domain_name = Default
#project_domain_name = Default

#[oslo_policy]
#policy_file = /etc/chandlery/policy.yaml
"""
POLICY_HEAD = """\
# Chandlery's policy, all rules with their defaults, under the names operators know from Murano.
# Copy the ones you want to change to /etc/chandlery/policy.yaml; the others stay as they are here.
"""


def configuration() -> str:
    """A configuration file with every option commented out at its default, and who reads it."""
    lines = [CONFIGURATION_HEAD]
    for group, options in _groups().items():
        lines.append(f"[{group}]\n")
        for option, readers in options.values():
            lines.extend(_comment(f"{option.help or ''} Read by {' and '.join(readers)}."))
            choices = getattr(option.type, "choices", None)
            if choices:
                lines.append(f"# One of: {', '.join(str(choice) for choice in choices)}")
            default = "" if option.default is None else option.default
            lines.append(f"#{option.name} = {_shown(default)}\n")
    return "\n".join(lines) + CONFIGURATION_TAIL


def policy_rules(rules: Sequence[policy.RuleDefault] | None = None) -> str:
    """A policy file with every rule commented out at its default."""
    lines = [POLICY_HEAD]
    for rule in policies.list_rules() if rules is None else rules:
        lines.extend(_comment(rule.description or ""))
        for operation in getattr(rule, "operations", ()):
            lines.append(f"# {operation['method']} {operation['path']}")
        lines.append(f'#"{rule.name}": "{rule.check_str}"\n')
    return "\n".join(lines)


FILES: Mapping[str, Callable[[], str]] = {"chandlery.conf.sample": configuration, "policy.yaml.sample": policy_rules}


def main(arguments: Sequence[str]) -> None:
    """Writes the samples into the folder that is named."""
    for name, make in FILES.items():
        pathlib.Path(arguments[0], name).write_text(make(), encoding="utf-8")


def _groups() -> dict[str, dict[str, tuple[cfg.Opt, list[str]]]]:
    """Options by group and name, each with its readers."""
    found: dict[str, dict[str, tuple[cfg.Opt, list[str]]]] = {"DEFAULT": {}}
    of_engine = {**engine.config.GROUPS, "murano_auth": openstack.AUTH}
    for reader, groups in ((API, catalog.config.GROUPS), (ENGINE, of_engine)):
        for group, options in groups.items():
            for option in options:
                found.setdefault(group or "DEFAULT", {}).setdefault(option.name, (option, []))[1].append(reader)
    return found


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ")


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(str(each) for each in value)
    return str(value)


if __name__ == "__main__":
    main(sys.argv[1:])
