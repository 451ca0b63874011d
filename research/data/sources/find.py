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
from research.data.sources.compression import find_content_suffix, is_compressed
from research.data.sources.text_format import TextFormat
from research.system.paths import expand_path
from research.system.user_code import ErrorsAttributedTo, hash_user_code


def find_source(spec: str, text_format: TextFormat | None = None, *, streaming: bool = False) -> Source:
    """Find the data set that `spec` names.

    Args:
        spec: value of --data.
        text_format: settings for reading text files; TextFormat() by default.
        streaming: whether the training rows are read during training.
    Raises:
        ValueError: if the data set does not exist or is not supported, or if it is unclear which split one of its
            files belongs to.
    """
    if not spec.strip():
        raise ValueError(f"--data is empty. {_describe_expected()}")
    for data_source in list_sources():
        with ErrorsAttributedTo(f"data source '{SOURCES.name_of(type(data_source))}'"):
            find = data_source.find_streamed if streaming else data_source.find
            source = find(spec, text_format or TextFormat())
        if source is not None:
            code_hash = hash_user_code(type(data_source))
            return source if code_hash is None else dataclasses.replace(source, identity=[*source.identity, code_hash])
    raise ValueError(f"{_describe_not_found(spec)} {_describe_expected()}")


def describe_unused_format(source: Source, text_format: TextFormat) -> list[str]:
    """Return a warning for each text format setting that affects none of the files."""
    return [
        f"Warning: {field.name} has no effect: it affects only {_describe_files(field.name)}, and the data has none."
        for field in dataclasses.fields(TextFormat)
        if getattr(text_format, field.name) != field.default and field.name not in source.format_settings
    ]


def _describe_files(setting: str) -> str:
    """Return the names of the file types that a setting affects."""
    names = [suffix[1:] for suffix, source in list_file_sources().items() if setting in source.format_settings]
    return f"{', '.join(names[:-1])} and {names[-1]} files"


def _describe_not_found(spec: str) -> str:
    """Return a sentence that explains why no data source reads `spec`."""
    path = expand_path(spec)
    if path.is_dir():
        return f"The folder '{path}' has no data files named after splits, such as train.csv or test.csv."
    if path.exists():
        return f"Cannot read '{spec}': {_describe_unsupported(spec)}."
    names = [name for name in SOURCES if issubclass(SOURCES[name], NamedSource)]
    nearest = difflib.get_close_matches(spec, names, n=1)
    hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
    return f"There is no file or folder '{spec}'.{hint}"


def _describe_unsupported(spec: str) -> str:
    """Return why no data source reads an existing file."""
    path = expand_path(spec)
    if not is_compressed(path):
        return f"unsupported extension '{path.suffix}'"
    content_suffix = find_content_suffix(path)
    if content_suffix:
        return f"it contains a file with the unsupported extension '{content_suffix}'"
    return "its name does not show the type of the compressed file; expected a name such as reviews.csv.gz"


def _describe_expected() -> str:
    """Return a sentence that lists the values that --data can have."""
    phrases = [source.expected for source in list_sources() if source.expected]
    suffixes = list(list_file_sources())
    files = f"{', '.join(suffixes[:-1])} or {suffixes[-1]} file (text files may be compressed, such as reviews.csv.gz)"
    return f"Expected {', '.join(phrases)}, or a {files}."
