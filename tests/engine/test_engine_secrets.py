"""What is hidden from people, and that nothing is hidden from programs."""

from __future__ import annotations

import pytest

from catalog.db import masking


@pytest.mark.parametrize("key", ["password", "adminPass", "auth_token", "TrustId", "client_secret", "signingKey"])
def test_text_under_a_telling_key_is_masked_at_any_depth(key):
    assert masking.masked({"a": [{key: "s3cret"}]}) == {"a": [{key: masking.MASK}]}


@pytest.mark.parametrize(("key", "value"), [("name", "s3cret"), ("password", None), ("password", ""), ("tokens", 3)])
def test_the_rest_is_shown(key, value):
    assert masking.masked({key: value}) == {key: value}


def test_the_original_is_left_alone():
    original = {"password": "s3cret"}
    masking.masked(original)
    assert original == {"password": "s3cret"}


def test_a_known_secret_is_hidden_wherever_it_turns_up():
    known = masking.found_in({"x": [{"dbPassword": "s3cret"}, {"password": {"nested": {"token": "abcdef"}}}]})
    assert known == {"s3cret", "abcdef"}
    assert "s3cret" not in masking.masked_text("mysql -u root --p=s3cret and s3cret again", known)


def test_short_words_are_not_taken_for_secrets():
    assert masking.masked_text("an abc of ports", frozenset({"abc"})) == "an abc of ports"


@pytest.mark.parametrize("text", ["password=s3cret", "token: s3cret", "PASSWORD='s3cret'", '"secret": "s3cret"'])
def test_what_follows_a_telling_word_is_hidden(text):
    assert "s3cret" not in masking.masked_text(text)
