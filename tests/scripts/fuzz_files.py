"""Check that mutated data files are either read, with all rows accounted for, or refused with a one-line message.

`python -m tests.scripts.fuzz_files --files 300 --seed 1` prints how many files were read and how many were refused. All
other outcomes are faults and are printed with the number of the file. `--only NUMBER --keep FOLDER`, with the same
`--seed`, writes that file again. Tests call `fuzz`. A forked child process reads each file, so that crashes and endless
loops can be reported.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import json
import os
import re
import resource
import runpy
import shutil
import signal
import sys
import tarfile
import tempfile
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # noqa: F401  (imported once for all child processes)
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from datasets import Dataset, DatasetDict, disable_progress_bars
from transformers import AutoTokenizer

from research.data.batches.collate import Collator
from research.data.batches.tokens import tokenize_splits
from research.data.prepare.load import load_splits
from research.settings.config import DataSettings
from research.system.errors import is_user_facing, print_error
from tests.builders.good_files import FILE_TYPES, FileType, Sheet, make_valid_sheet, write_arrow_stream
from tests.builders.mutated_arrow import ARROW_MUTATIONS, to_arrow_table
from tests.builders.mutated_contents import BYTE_MUTATIONS, FILE_MUTATIONS, LINE_MUTATIONS
from tests.builders.mutated_sheets import SHEET_MUTATIONS
from tests.conftest import ROOT, write_tiny_encoder
from tests.file_modes import enforce_file_modes
from tests.messages import collect_messages

TIMEOUT_SECONDS = 60
"""Seconds after which a child process counts as hanging."""
EXTRA_MEMORY_BYTES = 3 * 2**30
"""Bytes that a child process may use in addition to the memory shared with its parent. A file has a few kilobytes."""
MAX_LINE_LENGTH = 2000
"""Maximum number of characters of a message on one line."""
_INTERNAL_TEXT = re.compile(r"\b\w+(Error|Exception)\(|<class '|<\w[\w.]* object at |\[[Ee]rrno ")
"""Text that is not meant for users: the `repr` of an exception, a class or an object, or a system error's number."""
_ROWS_COUNTED = "Rows accounted for"
_LAYOUTS = (("data",), ("data",), ("train", "test"), ("train", "validation", "test"), ("train-0-of-2", "train-1-of-2"))
"""File names of data sets, without suffixes. A single file is listed twice, so that it is chosen more often."""


@dataclass
class Mutant:
    """A mutated file, and the unchanged files of the same data set."""

    path: Path
    """Value for --data."""
    description: list[str]
    """Names of the file type and the mutations."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Data settings."""
    num_rows: int | None = 0
    """Number of rows in all files; None if only Midway's own code could count them."""


@dataclass(frozen=True)
class Outcome:
    """The outcome for one file."""

    number: int
    """Number of the file."""
    description: str
    """Names of the file type and the mutations, and the settings."""
    kind: str
    """`read` or `refused`; all other values are faults."""
    printed: str
    """Output of the child process."""

    @property
    def is_fault(self) -> bool:
        """Whether the file was neither read nor refused with a one-line message."""
        return self.kind not in ("read", "refused")

    def __str__(self) -> str:
        return f"{self.number:4} {self.kind}: {self.description}\n{self.printed[-3000:]}"


def make_mutant(folder: Path, generator: np.random.Generator) -> Mutant:
    """Write a data set, mutate one of its files, and return its path and the settings for reading it."""
    draw = generator.random()
    if draw < 0.08:
        return _make_review_folders(folder, generator)
    if draw < 0.16:
        return _make_saved_dataset(folder, generator)
    suffix = list(FILE_TYPES)[generator.integers(len(FILE_TYPES))]
    file_type = FILE_TYPES[suffix]
    stems = _LAYOUTS[generator.integers(len(_LAYOUTS))]
    mutated_index = int(generator.integers(len(stems)))
    sheet = make_valid_sheet(generator, file_type.content_kind)
    # Arrow columns are mutated more often than bytes. Workbooks ("cells") are compressed, so they have no lines.
    extra_levels = {"arrow": ["arrow"] * 2, "cells": []}
    levels = ["sheet", "bytes", *extra_levels.get(file_type.content_kind, ["lines"])]
    chosen_levels = [levels[generator.integers(len(levels))] for _ in range(generator.integers(1, 4))]
    if generator.random() < 0.1:
        chosen_levels = ["file"]
    mutant = Mutant(folder / f"data{suffix}" if len(stems) == 1 else folder, [suffix], _random_settings(generator))
    for index, stem in enumerate(stems):
        part = Sheet({name: values[index :: len(stems)] for name, values in sheet.columns.items()}, sheet.label_names)
        path = folder / f"{stem}{suffix}"
        levels_of_part = chosen_levels if index == mutated_index else []
        content = _build_content(part, file_type, levels_of_part, mutant, generator)
        path.write_bytes(content)
        if "file" in levels_of_part:
            mutation = FILE_MUTATIONS[generator.integers(len(FILE_MUTATIONS))]
            mutant.description.append(mutation.__name__)
            mutant.num_rows = None
            path = mutation(path, generator)
            mutant.path = path if len(stems) == 1 else folder
    return mutant


def _build_content(part: Sheet, file_type: FileType, levels: Sequence[str], mutant: Mutant, generator: Any) -> bytes:
    """Return the content of a file, mutated at the given levels, and add its number of rows to the mutant."""

    def mutate(level: str, mutations: Sequence[Any], content: Any) -> Any:
        for _ in range(levels.count(level)):
            mutation = mutations[generator.integers(len(mutations))]
            mutant.description.append(mutation.__name__)
            mutated = mutation(content, generator)
            content = content if mutated is None else mutated
        return content

    part = mutate("sheet", SHEET_MUTATIONS, part)
    if file_type.content_kind == "arrow":
        content = _write_arrow(mutate("arrow", ARROW_MUTATIONS, to_arrow_table(part)), file_type, mutant)
    else:
        content = mutate("lines", LINE_MUTATIONS, file_type.write(part))
    if file_type.compress is bytes:  # the default: no compression
        content = mutate("bytes", BYTE_MUTATIONS, content)
    num_rows = _count_rows(content, file_type, mutant.settings)
    mutant.num_rows = None if num_rows is None or mutant.num_rows is None else mutant.num_rows + num_rows
    if file_type.compress is not bytes:
        compressed = file_type.compress(content)
        content = mutate("bytes", BYTE_MUTATIONS, compressed)
        mutant.num_rows = mutant.num_rows if content == compressed else None
    return content


def _write_arrow(table: pa.Table, file_type: FileType, mutant: Mutant) -> bytes:
    """Return the table as file contents; columns of types that the format lacks are replaced by lists of numbers."""
    try:
        return file_type.write(table)
    except pa.ArrowException:
        mutant.description.append("with columns that cannot be written")
    numbers = pa.array([[row] for row in range(table.num_rows)], pa.list_(pa.int64()))
    columns = []
    for column in table.columns:
        try:
            file_type.write(pa.Table.from_arrays([column], names=["column"]))
            columns.append(column)
        except pa.ArrowException:
            columns.append(numbers)
    return file_type.write(pa.Table.from_arrays(columns, names=table.column_names))


def _count_rows(content: bytes, file_type: FileType, settings: dict[str, Any]) -> int | None:
    """Count the rows of a file without Midway's code; return None if such a simple count would not be reliable."""
    if file_type.content_kind == "arrow":
        try:
            return pq.read_metadata(io.BytesIO(content)).num_rows if content[:4] == b"PAR1" else None
        except (pa.ArrowException, OSError, UnicodeError):
            return None
    is_utf_16 = content[:2] in (b"\xff\xfe", b"\xfe\xff")  # byte order marks
    if is_utf_16 or "encoding" in settings or file_type.content_kind == "cells":
        return None
    if file_type.content_kind == "json":
        try:
            parsed = json.loads(content)
        except (ValueError, RecursionError):
            return None
        rows = next(iter(parsed.values()), None) if isinstance(parsed, dict) and len(parsed) == 1 else parsed
        return len(rows) if isinstance(rows, list) else None
    lines = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape").split("\n")
    if file_type.content_kind in ("json_lines", "texts"):
        return sum(bool(line.strip()) for line in lines)
    if '"' in "".join(lines) or any("\r" in line.removesuffix("\r") for line in lines):
        return None  # a record may have several lines
    return max(sum(bool(line.rstrip("\r")) for line in lines) - ("columns" not in settings), 0)


def _make_review_folders(folder: Path, generator: np.random.Generator) -> Mutant:
    """Write a folder or an archive like aclImdb, with one file per review; mutate a file or the archive."""
    root = folder / "aclImdb"
    reviews = [
        root / split / sentiment / f"{number}_{number % 10}.txt"
        for split in ("train", "test")
        for sentiment in ("neg", "pos")
        for number in range(12)
    ]
    for number, path in enumerate(reviews):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"good film {number}", encoding="utf-8")
    review = reviews[generator.integers(len(reviews))]
    mutant = Mutant(root, ["aclImdb"], _random_settings(generator), len(reviews))
    byte_mutation = BYTE_MUTATIONS[generator.integers(len(BYTE_MUTATIONS))]
    kind = generator.integers(4)
    if kind == 0:
        mutation = FILE_MUTATIONS[generator.integers(len(FILE_MUTATIONS))]
        mutation(review, generator)
        mutant.num_rows = None
        mutant.description.append(mutation.__name__)
        return mutant
    if kind == 1:
        review.write_bytes(byte_mutation(review.read_bytes(), generator))
        mutant.description.append(byte_mutation.__name__)
        return mutant
    mutant.path = folder / ("aclImdb.tar" if kind == 2 else "aclImdb.tar.gz")
    with tarfile.open(mutant.path, "w" if kind == 2 else "w:gz") as archive:
        archive.add(root, "aclImdb")
    mutant.path.write_bytes(byte_mutation(mutant.path.read_bytes(), generator))
    mutant.description += [mutant.path.name, byte_mutation.__name__]
    mutant.num_rows = None
    return mutant


def _make_saved_dataset(folder: Path, generator: np.random.Generator) -> Mutant:
    """Save data with `save_to_disk` of the `datasets` library, and mutate one of the files."""
    sheet = make_valid_sheet(generator, "json")
    table = to_arrow_table(Sheet(sheet.columns))
    mutant = Mutant(folder / "saved", ["save_to_disk"], _random_settings(generator), table.num_rows)
    disable_progress_bars()
    if generator.random() < 0.5:
        Dataset(table).save_to_disk(mutant.path)
    else:
        half = table.num_rows // 2
        parts = {"train": Dataset(table.slice(0, half)), "test": Dataset(table.slice(half))}
        DatasetDict(parts).save_to_disk(mutant.path)
    files = sorted(file for file in mutant.path.rglob("*") if file.is_file())
    files += [file for file in files if file.suffix == ".arrow"]  # a second time, so that they are chosen more often
    path = files[generator.integers(len(files))]
    content_mutations: Sequence[Any] = LINE_MUTATIONS if path.suffix == ".json" else ARROW_MUTATIONS
    kinds: list[Sequence[Any]] = [BYTE_MUTATIONS, BYTE_MUTATIONS, content_mutations, FILE_MUTATIONS]
    mutations = kinds[generator.integers(4)]
    mutation = mutations[int(generator.integers(len(mutations)))]
    if mutations is FILE_MUTATIONS:
        mutation(path, generator)
    elif mutations is ARROW_MUTATIONS:
        with pa.OSFile(str(path)) as file:
            table = pa.ipc.open_stream(file).read_all()
        with contextlib.suppress(pa.ArrowException):  # columns of types that the format does not support
            path.write_bytes(write_arrow_stream(mutation(table, generator)))
    else:
        path.write_bytes(mutation(path.read_bytes(), generator))
    if path.suffix != ".json" or mutations is FILE_MUTATIONS:
        mutant.num_rows = None
    mutant.description += [path.name, mutation.__name__]
    return mutant


def _random_settings(generator: np.random.Generator) -> dict[str, Any]:
    settings: dict[str, Any] = {"bad_rows": "skip" if generator.random() < 0.7 else "error"}
    common = {"text_column": "text", "label_column": "label"}
    settings |= {name: value for name, value in common.items() if generator.random() < 0.4}
    if generator.random() < 0.25:
        rare: tuple[dict[str, Any], ...] = (
            {"unseen_labels": "skip"},
            {"unseen_labels": "count_as_wrong"},
            {"task": "single_label"},
            {"task": "multi_label"},
            {"task": "regression"},
            {"quoting": "none"},
            {"quoting": "csv"},
            {"encoding": "latin-1"},
            {"encoding": "utf-16"},
            {"encoding": "utf-32"},
            {"encoding": "utf-7"},
            {"columns": ["id", "text", "day", "label"]},
            {"label_separator": " "},
            {"cleaning": ["strip_html", "unicode_nfc", "strip_control", "collapse_whitespace"]},
            {"limit_train": 7, "limit_test": 3},
        )
        settings |= rare[generator.integers(len(rare))]
    return settings


def read(mutant: Mutant, encoder: Path, cache_dir: Path) -> None:
    """Read, tokenize and batch a data set as a run does, and check that all of its rows are accounted for.

    Raises:
        AssertionError: if rows are missing and no message reports them, or if labels are invalid.
    """
    logged: list[str] = []
    settings = DataSettings(data=str(mutant.path), allow_unknown_tokens=True, **mutant.settings)
    with collect_messages(logged):
        splits = load_splits(settings, cache_dir)
    for line in logged:
        assert is_one_line(line), f"logged: {line!r}"
        print(line)
    num_kept = {name: len(split) for name, split in splits.items()}
    num_reported = sum(item.rows for item in splits.skipped_rows)
    is_limited = settings.limit_train is not None
    if mutant.num_rows is not None and not is_limited:
        counts = f"{sum(num_kept.values())} kept, {num_reported} reported, {mutant.num_rows} in the file"
        assert sum(num_kept.values()) + num_reported == mutant.num_rows, counts
        print(f"{_ROWS_COUNTED}: {counts}.")
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    task = splits.task
    splits = tokenize_splits(splits, tokenizer, allow_unknown=True)
    collator = Collator(tokenizer, task, max_length=32, truncation="head", pair=splits.has_pairs)
    for name, split in splits.items():
        labels = collator(split[:]).labels
        assert len(split) == num_kept[name]
        if name in splits.unlabelled:
            continue
        assert torch.isfinite(labels).all(), f"labels of {name}: {labels}"
        if task.name == "single_label":
            num_labels = task.num_labels + (len(task.unseen_labels) if name != "train" else 0)
            assert ((labels >= 0) & (labels < num_labels)).all(), f"labels of {name}: {labels}"


def train(mutant: Mutant, encoder: Path, cache_dir: Path) -> None:
    """Train on a file by running run.py in this process."""
    os.environ["MIDWAY_CACHE"] = str(cache_dir)
    small_run = {"encoder": encoder, "max_steps": 1, "max_length": 32, "batch_size": 8, "mixed_precision": "no"}
    settings = {**small_run, "allow_unknown_tokens": True, "num_threads": 1, **mutant.settings}
    flags = [f"--{name}={','.join(value) if isinstance(value, list) else value}" for name, value in settings.items()]
    directory = cache_dir.with_name("run")
    sys.argv = ["run.py", f"--data={mutant.path}", f"--output_dir={directory}", "--log_with=[]", *flags]
    try:
        runpy.run_path(str(ROOT / "experiments" / "run.py"), run_name="__main__")
    finally:
        remaining = os.listdir(directory) if directory.exists() else []
        print(f"The run left: {', '.join(sorted(remaining)) or 'nothing'}")


def is_one_line(text: str) -> bool:
    """Return whether a string is one line of at most MAX_LINE_LENGTH characters, without control characters."""
    if not text.strip() or len(text) > MAX_LINE_LENGTH or len(text.splitlines()) != 1:
        return False
    return not any(unicodedata.category(character) in ("Cc", "Cs") for character in text)


def classify_outcome(status: int, out: str, error: str, *, trained: bool) -> str:
    """Return `read`, `refused`, or a description of the fault.

    Args:
        status: exit status of the child process; negative for a signal.
        out: stdout of the child process.
        error: stderr of the child process.
        trained: whether the child process ran run.py, instead of only reading the file.
    """
    if status == -signal.SIGALRM:
        return f"still running after {TIMEOUT_SECONDS} s"
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    printed = error.removesuffix("\n")
    if status == 0:
        if trained:
            return "read" if "result.json" in out else "no result"
        return "read" if not error else "read, with other messages"
    if "Traceback" in error:
        return "traceback"
    message = printed.removeprefix("error: ")
    if message == printed or not is_one_line(message):
        return "not one line"
    if _INTERNAL_TEXT.search(message):
        return "internal text"
    if trained and "The run left: nothing" not in out:
        return "refused, but files were left"
    return "refused"


def fuzz(
    folder: Path, *, num_files: int, seed: int, first: int = 0, num_trained: int = 0, keep: bool = False
) -> Iterator[Outcome]:
    """Yield the outcomes for mutated files.

    Args:
        folder: folder for the files.
        num_files: number of files.
        seed: seed for all random choices.
        first: number of the first file.
        num_trained: number of files on which run.py trains; the remaining files are only read.
        keep: whether to keep the files.
    """
    encoder = folder / "encoder"
    if not encoder.exists():
        write_tiny_encoder(encoder)
    gc.collect()
    gc.freeze()  # forked processes share the memory of existing objects
    for number in range(first, first + num_files):
        workspace = folder / f"{number:04}"
        data = workspace / "data"
        data.mkdir(parents=True)
        trains = num_trained > 0 and number % max(num_files // num_trained, 1) == 0
        action = train if trains else read
        description_file = workspace / "description"

        def execute(workspace: Path = workspace, action: Callable[..., None] = action, number: int = number) -> int:
            mutant = make_mutant(workspace / "data", np.random.default_rng((seed, number)))
            names_and_settings = ", ".join([*mutant.description, str(mutant.settings)])
            (workspace / "description").write_text(names_and_settings, encoding="utf-8")
            with enforce_file_modes():
                return _call_and_print_user_errors(lambda: action(mutant, encoder, workspace / "cache"))

        status = run_in_child(execute, workspace / "out", workspace / "error")
        out, error = (Path(workspace / name).read_text(errors="backslashreplace") for name in ("out", "error"))
        description = description_file.read_text(encoding="utf-8") if description_file.exists() else "not written"
        kind = classify_outcome(status, out, error, trained=trains)
        printed = error if kind == "refused" else out + error
        yield Outcome(number, ("trained " if trains else "") + description, kind, printed)
        if not keep:
            data.chmod(0o700)  # a mutation may have removed the permissions
            shutil.rmtree(workspace)


def _call_and_print_user_errors(action: Callable[[], None]) -> int:
    """Call a function, and return the exit status. Print user-facing errors as the scripts do."""
    try:
        action()
    except ValueError as error:
        if not is_user_facing(error):
            raise
        return print_error(error, exit_code=1)
    return 0


def run_in_child(execute: Callable[[], int], out: Path, error: Path) -> int:
    """Call a function in a forked process with limits on time and memory, and return the exit status.

    Args:
        execute: function that returns the exit status.
        out: file for stdout.
        error: file for stderr.
    """
    child = os.fork()
    if child == 0:
        status = 1
        try:
            for path, descriptor in ((out, 1), (error, 2)):
                file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(file, descriptor)
            sys.stdout = io.TextIOWrapper(io.FileIO(1, "w"), encoding="utf-8", write_through=True)
            sys.stderr = io.TextIOWrapper(
                io.FileIO(2, "w"), encoding="utf-8", errors="backslashreplace", write_through=True
            )
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(TIMEOUT_SECONDS)
            virtual_memory = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            limit = virtual_memory + EXTRA_MEMORY_BYTES
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            status = execute()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def main() -> None:
    """Print the counts of outcomes, and every fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=300, help="number of files (default: 300)")
    parser.add_argument("--seed", type=int, default=1, help="seed for all random choices (default: 1)")
    parser.add_argument("--trained", type=int, default=0, help="number of files on which run.py trains (default: 0)")
    parser.add_argument("--only", type=int, help="number of a single file to write and read")
    parser.add_argument("--keep", type=Path, help="folder in which to keep the files")
    parser.add_argument("--show", action="store_true", help="print every outcome, not only faults")
    arguments = parser.parse_args()
    counts = {"read": 0, "refused": 0, "fault": 0}
    num_counted = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.keep or Path(temporary)).resolve()
        folder.mkdir(exist_ok=True)
        selection = (
            {"num_files": arguments.files} if arguments.only is None else {"num_files": 1, "first": arguments.only}
        )
        for outcome in fuzz(
            folder, seed=arguments.seed, num_trained=arguments.trained, keep=arguments.keep is not None, **selection
        ):
            counts["fault" if outcome.is_fault else outcome.kind] += 1
            num_counted += outcome.kind == "read" and _ROWS_COUNTED in outcome.printed
            if outcome.is_fault or arguments.show:
                print(outcome, flush=True)
    print(
        f"{sum(counts.values())} files: {counts['read']} read (rows counted in {num_counted}), {counts['refused']} "
        f"refused, {counts['fault']} with faults"
    )
    raise SystemExit(counts["fault"] > 0)


if __name__ == "__main__":
    main()
