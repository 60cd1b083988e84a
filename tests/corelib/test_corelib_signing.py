"""The engine's public key in the boot data of agents (spec/agent-protocol §4)."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from test_corelib_resources import decoded
from test_corelib_servers import APP, environment, server

from engine.system.signing import public_key


def private_pem(key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "signing.pem"
    path.write_bytes(private_pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)))
    return path


def test_the_public_half_is_given_line_by_line(key_file):
    lines = public_key(str(key_file), ">").splitlines()
    assert lines[0] == ">-----BEGIN RSA PUBLIC KEY-----"
    assert lines[-1] == ">-----END RSA PUBLIC KEY-----"
    assert all(line.startswith(">") for line in lines)


def test_without_a_key_nothing_is_signed(tmp_path):
    assert public_key(None) == ""
    assert public_key(str(tmp_path / "missing.pem")) == ""


def test_a_key_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "key.pem"
    path.write_bytes(private_pem(ec.generate_private_key(ec.SECP256R1())))
    with pytest.raises(ValueError, match="expected an RSA key"):
        public_key(str(path))
    path.write_text("no key")
    with pytest.raises(ValueError, match="expected a PEM private key without passphrase"):
        public_key(str(path))


def test_agents_of_a_broker_get_the_key_as_one_value_of_their_configuration(start, world, key_file):
    world.protocol = "amqp"
    world.settings[("engine", "signing_key")] = str(key_file)
    start(environment(server("web")), {"App": APP}).call("env", "deploy")

    script = world.template["resources"]["boot_script_web"]["properties"]["config"]
    config = decoded(script, "/etc/murano/agent.conf")
    assert "engine_key = \t-----BEGIN RSA PUBLIC KEY-----\n\t" in config
    assert "\n\t-----END RSA PUBLIC KEY-----\n" in config
