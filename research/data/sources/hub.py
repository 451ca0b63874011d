"""Data sets of the Hugging Face Hub."""

from __future__ import annotations

from datasets import Dataset, DatasetDict, load_dataset
from huggingface_hub import HfApi, constants

from research.data.sources.arrow_tables import LoadedTable
from research.data.sources.base import DataSource, Source, register_data
from research.data.sources.split_names import choose_splits
from research.data.sources.text_format import TextFormat
from research.system.errors import one_line

HUB_TIMEOUT = 5.0
"""Seconds until the Hub counts as out of reach."""
_PREFIX = "hub:"


@register_data("hub")
class HubSource(DataSource):
    """A data set of the Hugging Face Hub: `hub:<dataset>[:config]`."""

    precedence = 20
    expected = f"{_PREFIX}<dataset>[:config]"

    def find(self, spec: str, text_format: TextFormat) -> Source | None:
        if not spec.startswith(_PREFIX):
            return None
        loaded = load_from_hub(spec.removeprefix(_PREFIX))
        splits, notes = choose_splits(spec, [str(name) for name in loaded])
        return Source(
            spec,
            [[split, loaded[name]._fingerprint] for name, split in splits.items()],
            lambda _: {split: [LoadedTable(loaded[name], name)] for name, split in splits.items()},
            notes,
        )


def load_from_hub(spec: str) -> DatasetDict:
    """Load `<dataset>[:config]`.

    Raises:
        ValueError: if the Hub does not answer or does not have it.
    """
    name, _, config = spec.partition(":")
    if not name:
        raise ValueError(f"Expected hub:<dataset>[:config]; got 'hub:{spec}'.")
    if not constants.HF_HUB_OFFLINE:
        _check_reachable(name)
    try:
        loaded = load_dataset(name, config or None)
    except Exception as error:  # the library raises a dozen kinds; each becomes one line
        raise ValueError(f"Cannot load '{name}' from the Hugging Face Hub: {one_line(error)}") from error
    return DatasetDict({"train": loaded}) if isinstance(loaded, Dataset) else loaded


def _check_reachable(name: str) -> None:
    """Ask once: `load_dataset` alone tries for 23 seconds before it says that there is no network."""
    try:
        HfApi().dataset_info(name, timeout=HUB_TIMEOUT)
    except Exception as error:  # the Hub's own errors and those of whichever HTTP library it uses
        raise ValueError(
            f"Cannot get '{name}' from the Hugging Face Hub: {one_line(error).rstrip('.')}. "
            "Without a network, HF_HUB_OFFLINE=1 uses what was downloaded before, and --data also takes local files."
        ) from error
