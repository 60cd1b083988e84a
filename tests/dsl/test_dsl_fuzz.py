"""A short run of the fuzzer (`python tests/fuzz/run.py` is the long one), and what it found."""

from __future__ import annotations

import json

import pytest
from dsl_generators import EXPRESSIONS, SOUP, documents, programs
from dsl_oracle import run
from hypothesis import HealthCheck, given, settings

quick = settings(
    max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


def returning(text: str) -> str:
    return f"Name: Main\nMethods: {{run: {{Body: [{{Return: !yaql {json.dumps(text)}}}]}}}}\n"


@quick
@given(EXPRESSIONS)
def test_expressions_end_in_a_value_or_an_error_of_the_language(text: str) -> None:
    run(returning(text))


@quick
@given(SOUP)
def test_tokens_in_any_order_do_too(text: str) -> None:
    run(returning(text))


@quick
@given(programs())
def test_programs_do_too(source: str) -> None:
    run(source)


@quick
@given(documents())
def test_documents_do_too(source: str) -> None:
    run(source)


FOUND = {
    "a message with the address of a generator": "not sequence().accumulate()",
    "an unknown overload of a view of a dictionary": "{a => 1}.items().accumulate()",
}


@pytest.mark.parametrize("text", FOUND.values(), ids=FOUND)
def test_what_the_fuzzer_found_stays_mended(text: str) -> None:
    run(returning(text))
