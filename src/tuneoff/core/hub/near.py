"""What a name that the Hub does not know may have been meant to be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from itertools import islice

SEARCHES = 4
FOUND = 50


def near_id(kind: str, repo_id: str) -> str | None:
    """A repository that the Hub's search finds and that is spelt much like `repo_id`, or None.

    The search finds parts of names alone, so that of a misspelt one the words are looked for as well.
    """
    import httpx

    try:
        for query in islice(_queries(repo_id), SEARCHES):
            found = {candidate.lower(): candidate for candidate in _search(kind, query)}
            names = {candidate.split("/")[-1]: candidate for candidate in reversed(found)}
            wanted = repo_id.lower()
            for known in (found, names):
                asked = wanted if known is found else wanted.split("/")[-1]
                close = get_close_matches(asked, known, n=1, cutoff=0.75)
                if close:
                    return found[close[0]] if known is found else found[names[close[0]]]
    except (httpx.HTTPError, OSError, ValueError):
        return None  # what matters is that the name is unknown, which is said anyway
    return None


def _queries(repo_id: str) -> Iterator[str]:
    name = repo_id.split("/")[-1]
    yield name
    yield from sorted((word for word in re.split(r"[-_.]+", name) if 2 < len(word) < len(name)), key=len, reverse=True)
    if "/" in repo_id:
        yield repo_id.split("/")[0]
    yield name[: max(3, len(name) // 2)]


def _search(kind: str, query: str) -> list[str]:
    from huggingface_hub import HfApi

    api = HfApi()
    if kind == "model":
        return [found.id for found in api.list_models(search=query, limit=FOUND)]
    return [found.id for found in api.list_datasets(search=query, limit=FOUND)]


def near_revision(kind: str, repo_id: str, revision: str | None) -> str:
    """The end of a message: which branches and tags there are."""
    import httpx
    from huggingface_hub import HfApi

    try:
        refs = HfApi().list_repo_refs(repo_id, repo_type=kind)
    except (httpx.HTTPError, OSError, ValueError):
        return ""
    names = [ref.name for ref in [*refs.branches, *refs.tags]]
    close = get_close_matches(revision or "", names, n=1)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; it has {', '.join(names[:8])}{' and others' if len(names) > 8 else ''}" if names else ""
