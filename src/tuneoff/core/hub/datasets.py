"""Datasets of the Hub, by the library `datasets`, at the commit that was asked for and no other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from tuneoff.core.errors import UserError
from tuneoff.core.hub.explain import LOCAL, explained
from tuneoff.core.hub.reach import session, unreachable
from tuneoff.core.hub.repositories import Repository, cached_snapshot, fetch, is_commit, look_up, quiet, snapshot

MOST_NAMED = 12


def fetch_dataset(dataset_id: str, config: str | None, revision: str | None) -> Any:
    """All splits of a Hub dataset as a `datasets.DatasetDict`; what was fetched before is not fetched again.

    Raises:
        UserError: where the Hub does not know the dataset or gives no access to it, it has several configurations and
            none is named, or the Hub cannot be reached and the cache lacks it.
    """
    with quiet(), _quiet_datasets():
        if Path(dataset_id).exists():  # which `datasets` would take in place of the Hub's
            raise UserError(
                f"data.id: there is a file or folder '{dataset_id}' here; to use it, set source = \"files\", otherwise "
                "run tuneoff elsewhere"
            )
        if is_commit(revision):
            try:
                known = _prepared(dataset_id, config, cached_snapshot("dataset", dataset_id, revision))
            except UserError:
                known = None
            if known is not None:
                return known
        repository = look_up("dataset", dataset_id, revision)
        if repository is None:
            return _from_cache(dataset_id, config, revision)
        folder = snapshot(repository, repository.commit, ["README.md"])
        config = _chosen(dataset_id, config, folder)
        known = _prepared(dataset_id, config, folder)
        return _download(repository, config) if known is None else known


def _download(repository: Repository, config: str | None) -> Any:
    from datasets import load_dataset_builder

    dataset_id, commit = repository.id, repository.commit
    script = f"{dataset_id.split('/')[-1]}.py"
    if script in repository.sizes:
        raise UserError(f"data.id: '{dataset_id}' is made by a script of its own ({script}), which tuneoff never runs")
    try:
        session()
        builder = load_dataset_builder(dataset_id, config, revision=commit)
        if builder.hash != commit:  # an older copy, with which `datasets` makes do where something has gone wrong
            raise UserError(f"the dataset '{dataset_id}' could not be loaded at commit {commit}; try again")
        place = f"hf://datasets/{dataset_id}@{commit}/"
        named = [str(file) for files in (builder.config.data_files or {}).values() for file in files]
        fetch(repository, ["README.md", *(file.removeprefix(place) for file in named if file.startswith(place))])
        builder.download_and_prepare()
        return builder.as_dataset()
    except UserError:
        raise
    except Exception as error:  # `datasets` raises errors of many kinds, its own without a common base among them
        raise explained(error, "dataset", dataset_id, commit) from error


def _from_cache(dataset_id: str, config: str | None, revision: str | None) -> Any:
    folder = cached_snapshot("dataset", dataset_id, revision)
    found = _prepared(dataset_id, _chosen(dataset_id, config, folder), folder)
    if found is None:
        raise UserError(
            f"the dataset '{dataset_id}' is in the local cache in part alone, and the Hugging Face Hub cannot be "
            f"reached ({unreachable() or 'no answer'}); {LOCAL}"
        )
    return found


def _prepared(dataset_id: str, config: str | None, folder: Path) -> Any:
    """The dataset as `datasets` has prepared it before at the commit of a folder in the cache, or None."""
    from datasets import config as settings
    from datasets.packaged_modules.cache.cache import Cache

    config = _chosen(dataset_id, config, folder)
    # OWNER___NAME/CONFIG/VERSION/COMMIT; its name there is in lower case, with underscores.
    owner = "___".join([*dataset_id.split("/")[:-1], ""])
    wanted = _letters(dataset_id.split("/")[-1])
    found = [
        path
        for path in Path(settings.HF_DATASETS_CACHE).expanduser().glob(f"{owner}*/{config or '*'}/*/{folder.name}")
        if (path / "dataset_info.json").is_file() and _letters(path.parts[-4].split("___")[-1]) == wanted
    ]
    if len(found) != 1:
        return None
    builder = Cache(
        repo_id=dataset_id,
        dataset_name=dataset_id.split("/")[-1],
        config_name=found[0].parts[-3],
        version=found[0].parts[-2],
        hash=folder.name,
    )
    return builder.as_dataset()


def _letters(name: str) -> str:
    return "".join(character for character in name.lower() if character != "_")


def _chosen(dataset_id: str, config: str | None, folder: Path) -> str | None:
    """The configuration that is meant, by the dataset's card; None where the card names none.

    Raises:
        UserError: where there are several, of which none is the default, or not the one that is asked for.
    """
    from huggingface_hub import DatasetCard

    path = folder / "README.md"
    if not path.is_file():
        return config
    try:
        listed = DatasetCard.load(path).data.to_dict().get("configs") or []
        names = {str(entry["config_name"]): bool(entry.get("default")) for entry in listed}
    except Exception as error:  # YAML's errors, and those of huggingface_hub, have no common base
        raise UserError(
            f"the dataset '{dataset_id}' has a card that cannot be read ({type(error).__name__})"
        ) from error
    if not names:
        return config
    shown = _shown(list(names))
    if config is not None:
        if config not in names:
            close = get_close_matches(config, names, n=1)
            said = f"did you mean '{close[0]}'?" if close else f"it has {shown}"
            raise UserError(f"data.config: the dataset '{dataset_id}' has no configuration '{config}'; {said}")
        return config
    defaults = [name for name, default in names.items() if default or name == "default" or len(names) == 1]
    if not defaults:
        raise UserError(f"the dataset '{dataset_id}' has several configurations; choose one with data.config: {shown}")
    return defaults[0]


def _shown(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} others" if more > 0 else "")


@contextmanager
def _quiet_datasets() -> Iterator[None]:
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise UserError("datasets from the Hub need an extra: pip install 'tuneoff[hub]'") from error
    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()
