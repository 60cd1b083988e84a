"""What a list of packages is asked for: the query's parameters, checked. spec/api-v1 §1.11, "List/search"."""

from __future__ import annotations

import logging

from catalog.api import errors
from catalog.api.request import Request, check_text
from catalog.db import package_search
from catalog.db.package_index import ORDERS

LOG = logging.getLogger(__name__)
SINGLE_FILTERS = ("fqn", "name", "class_name", "search", "version")
SEARCH_LIMIT = 500  # characters of a search
WORDS_LIMIT = 20  # words of one


def query_of(request: Request) -> package_search.Query:
    """What is asked for. Raises `errors.BadRequest`."""
    params = request.params
    for name, value in params.items():
        check_text(value, name)
    catalog = request.flag("catalog")
    single = {name: params.getall(name)[-1] for name in SINGLE_FILTERS if params.getall(name)}
    order = [name for name in params.getall("order_by") if name in (*ORDERS, package_search.RELEVANCE)]
    search = single.get("search", "")
    if len(search) > SEARCH_LIMIT or search.count(",") + search.count(";") >= WORDS_LIMIT:
        raise errors.BadRequest(
            f"search: expected at most {WORDS_LIMIT} words of {SEARCH_LIMIT} characters altogether, found more"
        )
    direction = params.get("sort_dir", "asc").lower()
    if direction.partition("-")[0] not in ("asc", "desc"):
        raise errors.BadRequest(f"sort_dir: expected asc or desc, found {direction[:40]}")
    public = catalog or request.services.policy.allows(request.caller, "manage_public_package")
    return package_search.Query(
        project_id=request.caller.project_id,
        everything=request.caller.is_admin and not catalog,
        include_public=public,
        owned=request.flag("owned"),
        include_disabled=request.flag("include_disabled"),
        include_yanked=not catalog or request.flag("include_disabled"),
        ids=_several(params.getall("id")),
        categories=_several(params.getall("category")),
        tags=_several(params.getall("tag")),
        type=params["type"].title() if params.get("type") else None,
        order_by=order if params.getall("order_by") else ("name",),
        descending=direction.startswith("desc"),
        limit=_limit(request),
        marker=params.get("marker") or None,
        facets=request.flag("facets"),
        **single,
    )


def _limit(request: Request) -> int:
    options = request.config.api
    text = request.params.get("limit")
    if text is None:
        return min(options.page_default, options.page_limit)
    if not (text.isascii() and text.isdigit() and int(text[:9]) > 0):
        raise errors.BadRequest(f"limit: expected a number above 0, found {text[:40]!r}")
    return min(int(text[:9]), options.page_limit)


def _several(values: list[str]) -> list[str] | None:
    """The values of a repeatable filter; one `in:` list stands for several (spec/api-v1 §1.11)."""
    if not values:
        return None
    if len(values) > 1 or not values[0].startswith("in:"):
        return values
    try:
        return split_quoted(values[0][3:])
    except ValueError as failure:
        LOG.warning("filter %r is ignored: %s", values[0][:200], failure)
        return None


def split_quoted(text: str) -> list[str]:
    """`a,"b,c"` as its values; in double quotes commas are literal and a backslash protects a quote.

    Raises `ValueError` for quotes that do not fit.
    """
    values: list[str] = []
    rest = text
    while rest:
        if rest.startswith('"'):
            value, rest = _quoted(rest[1:])
        else:
            value, comma, rest = rest.partition(",")
            if '"' in value:
                raise ValueError("a quote inside an unquoted value")
            rest = comma + rest
        values.append(value)
        if rest and not rest.startswith(","):
            raise ValueError("something between a closing quote and the next comma")
        rest = rest[1:]
    return values


def _quoted(text: str) -> tuple[str, str]:
    value = ""
    position = 0
    while position < len(text):
        if text[position : position + 2] == '\\"':
            value += '"'
            position += 2
        elif text[position] == '"':
            return value, text[position + 1 :]
        else:
            value += text[position]
            position += 1
    raise ValueError("a quote that is not closed")
