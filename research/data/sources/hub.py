"""Load data sets from the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from datasets import Dataset, DatasetBuilder, DatasetDict, load_dataset, load_dataset_builder
from huggingface_hub import HfApi, constants

from research.data.sources.arrow_tables import LoadedTable
from research.data.sources.base import DataSource, Source, register_data
from research.data.sources.hub_tables import open_hub_tables
from research.data.sources.split_names import choose_splits
from research.data.sources.text_format import TextFormat
from research.system.errors import one_line

HUB_TIMEOUT = 5.0
"""Seconds without an answer after which the Hub is considered unreachable."""
_PREFIX = "hub:"


@register_data("hub")
class HubSource(DataSource):
    """A data set on the Hugging Face Hub: `hub:<dataset>[:config]`."""

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

    def find_streamed(self, spec: str, text_format: TextFormat) -> Source | None:
        if not spec.startswith(_PREFIX):
            return None
        builder = _load_builder(spec.removeprefix(_PREFIX))
        files = builder.config.data_files
        if not files:
            raise ValueError(
                f"--streaming expects the files of {spec}; found only rows from an earlier download. Connect to the "
                "Hub, pass the files as a local folder, or omit --streaming."
            )
        splits, notes = choose_splits(spec, [str(name) for name in files])
        tables = {split: open_hub_tables(builder, name) for name, split in splits.items()}
        identity = [
            [split, list(files[name]), [*map(list, files[name].origin_metadata)]] for name, split in splits.items()
        ]
        return Source(spec, identity, lambda _: tables, notes)


def load_from_hub(spec: str) -> DatasetDict:
    """Load a data set from the Hub or, if HF_HUB_OFFLINE is set, from earlier downloads.

    Args:
        spec: `<dataset>[:config]`.
    Raises:
        ValueError: if the data set cannot be loaded, for example because the Hub is unreachable.
    """
    loaded = _call_library(load_dataset, spec)
    return DatasetDict({"train": loaded}) if isinstance(loaded, Dataset) else loaded


def _load_builder(spec: str) -> DatasetBuilder:
    """Return the library's description of a data set on the Hub, without loading any rows.

    Args:
        spec: `<dataset>[:config]`.
    Raises:
        ValueError: if there is none, for example because the Hub is unreachable.
    """
    return _call_library(load_dataset_builder, spec)


def _call_library(function: Callable[[str, str | None], Any], spec: str) -> Any:
    """Call a function of the library with the name and the config of a data set, after checking that it exists."""
    name, _, config = spec.partition(":")
    if not name:
        raise ValueError(f"Expected hub:<dataset>[:config]; got 'hub:{spec}'.")
    if not constants.HF_HUB_OFFLINE:
        _check_available(name)
    try:
        return function(name, config or None)
    except Exception as error:  # the library raises a dozen kinds of errors; each becomes one line
        raise ValueError(f"Cannot load '{name}' from the Hugging Face Hub: {one_line(error)}") from error


def _check_available(name: str) -> None:
    """Check that the Hub has a data set, because `load_dataset` retries for 23 seconds if the Hub cannot be reached.

    Raises:
        ValueError: if the Hub cannot be reached, or the data set is missing or not accessible.
    """
    try:
        HfApi().dataset_info(name, timeout=HUB_TIMEOUT)
    except Exception as error:  # errors of the Hub's client and of the HTTP library that it uses
        raise ValueError(
            f"Cannot load '{name}' from the Hugging Face Hub: {one_line(error).rstrip('.')}. "
            "Without a network, set HF_HUB_OFFLINE=1 to use earlier downloads, or pass a local file as --data."
        ) from error
