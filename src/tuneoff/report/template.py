"""The templates of the page and of the Markdown."""

from __future__ import annotations

from functools import cache

import jinja2


@cache
def template(name: str) -> jinja2.Template:
    """A template by the name of its file; compiled once, since that takes longer than to fill it in."""
    loader = jinja2.PackageLoader("tuneoff.report")
    page = name.endswith(".html")
    return jinja2.Environment(
        loader=loader,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=page,
        undefined=jinja2.StrictUndefined if page else jinja2.Undefined,
    ).get_template(name)
