"""Find the data set that `--data` names, trying one data source after another."""

from __future__ import annotations

import dataclasses
import difflib

from research.data.sources.base import (
    SOURCES,
    NamedSource,
    Source,
    list_file_sources,
    list_sources,
)
from research.data.sources.compression import find_type, is_compressed
from research.data.sources.text_format import TextFormat
from research.system.paths import expand_path
from research.system.user_code import CodeOf, hash_user_code


def find_source(spec: str, text_format: TextFormat | None = None) -> Source:
    """Find the data set that `spec` names.

    Args:
        spec: the setting --data.
        text_format: how text files are read.
    Raises:
        ValueError: if it does not exist, is not supported, or does not make clear which files belong to which split.
    """
    if not spec.strip():
        raise ValueError(f"--data is empty. {_describe_expected()}")
    for kind in list_sources():
        with CodeOf(f"data source '{SOURCES.name_of(type(kind))}'"):
            source = kind.find(spec, text_format or TextFormat())
        if source is not None:
            code = hash_user_code(type(kind))
            return source if code is None else dataclasses.replace(source, identity=[*source.identity, code])
    raise ValueError(f"{_describe_unfound(spec)} {_describe_expected()}")


def describe_unused_format(source: Source, text_format: TextFormat) -> list[str]:
    """Return a warning for each text format setting that affects none of the files."""
    return [
        f"Warning: {field.name} has no effect: it applies only to {_describe_files(field.name)}, and the data has none."
        for field in dataclasses.fields(TextFormat)
        if getattr(text_format, field.name) != field.default and field.name not in source.format_settings
    ]


def _describe_files(setting: str) -> str:
    """Return the names of the file types that a setting affects."""
    names = [suffix[1:] for suffix, source in list_file_sources().items() if setting in source.format_settings]
    return f"{', '.join(names[:-1])} and {names[-1]} files"


def _describe_unfound(spec: str) -> str:
    path = expand_path(spec)
    if path.is_dir():
        return f"The folder '{path}' has no data files that are named like splits."
    if path.exists():
        return f"Cannot read '{spec}': {_describe_unsupported(spec)}."
    names = [name for name in SOURCES if issubclass(SOURCES[name], NamedSource)]
    nearest = difflib.get_close_matches(spec, names, n=1)
    hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
    return f"There is no file or folder '{spec}'.{hint}"


def _describe_unsupported(spec: str) -> str:
    path = expand_path(spec)
    if not is_compressed(path):
        return f"unsupported extension '{path.suffix}'"
    inside = find_type(path)
    if inside:
        return f"it contains a file with the unsupported extension '{inside}'"
    return "its name does not tell the type of the compressed file"


def _describe_expected() -> str:
    """Return a sentence that lists the values --data can have."""
    phrases = [source.expected for source in list_sources() if source.expected]
    suffixes = list(list_file_sources())
    files = f"{', '.join(suffixes[:-1])} or {suffixes[-1]} file (text files also compressed: reviews.csv.gz)"
    return f"Expected {', '.join(phrases)}, or a {files}."
