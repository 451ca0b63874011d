"""Record the results of all kinds of runs, and compare two recordings, to show that a refactor changes no results.

    python tests/scripts/record_results.py record --repository . --python .venv/bin/python --output before.json
    python tests/scripts/record_results.py record --repository . --python .venv/bin/python --output after.json
    python tests/scripts/record_results.py compare before.json after.json

`record` starts the scripts of a repository as users do, in an environment in which that repository is installed in
editable mode. It does not import any of the repository's modules, so recordings of two commits can be compared even if
modules have moved. Each recording uses a new folder with an empty cache. The cases are every shipped recipe with
`--smoke`; then, with a tiny encoder, every recipe, head, hook, objective and schedule, edits, two processes, resumed
runs, forks, studies, and several kinds of tasks and data files. `--only 'head-*'` records the cases whose names match.

Every file of every run directory is recorded; `DROPPED_FIELDS` and `CONTENT_NOT_RECORDED` list the exceptions.
`compare` prints each difference, and exits with 1 if there is one or if a case is missing. Ignore intended differences
with `--ignore 'CASE/FILE:FIELD'`, where wildcards are allowed; the script counts ignored differences.
"""

from __future__ import annotations

import argparse
import csv
import fnmatch
import gzip
import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

TIMEOUT_SECONDS = 900
"""Seconds after which a command counts as hanging."""
NUM_PARALLEL_CASES = 2
"""Number of cases that run at the same time."""

VARIES = "differs between two runs of the same code"
MACHINE = "describes the machine or the checkout"
DROPPED_FIELDS: dict[str, dict[str, str]] = {
    "result.json": {
        "train_seconds": VARIES,
        "device_hours": VARIES,
        "examples_per_second": VARIES,
        "peak_memory_bytes": VARIES,
        "versions": MACHINE,
        "git_commit": MACHINE,
    },
    "metrics.jsonl": {"examples_per_second": VARIES},
    "state.json": {"train_seconds": VARIES, "device_seconds": VARIES, "environment": MACHINE},
    "manifest.json": {"sha256": "hashes of files that contain times", "bytes": "sizes of files that contain times"},
    "results.csv": {"train_seconds": VARIES, "device_hours": VARIES},
}
"""Fields that are not recorded, by file name, with the reason."""
CONTENT_NOT_RECORDED = {
    "*/report.html": "made from recorded files, and contains times",
    "*/tensorboard/*": "made from recorded values; names and contents include times",
    "*/study.db": "contains times; its trials are in results.csv",
    "*/logs/*": "output of processes, with times and rates",
}
"""Files whose presence is recorded but not their content, with the reason."""
DROPPED_SECTIONS = {"## Cost": "seconds; numbers of parameters are in results.csv"}
"""Sections of a study's report.md that are not recorded, with the reason."""


@dataclass(frozen=True)
class Command:
    """One command of a case."""

    arguments: Sequence[str]
    """Arguments for the script."""
    script: str = "run.py"
    """Name of a script in experiments/."""
    num_processes: int = 0
    """Number of processes that `accelerate launch` starts; 0 means plain Python."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Environment variables for this command only."""
    exit_status: int = 0
    """Expected exit status."""


@dataclass(frozen=True)
class Checkout:
    """A repository, and the environment in which it is installed."""

    repository: Path
    """Root of the repository."""
    python: Path
    """Python interpreter of the environment."""

    def command_line(self, command: Command) -> list[str]:
        """Return a command as a user types it."""
        launcher = [str(self.python)]
        if command.num_processes:
            config = self.repository / "accelerate_configs" / f"cpu_{command.num_processes}_processes.yaml"
            launcher += ["-m", "accelerate.commands.launch", "--config_file", str(config)]
        return [*launcher, str(self.repository / "experiments" / command.script), *command.arguments]

    def registered_names(self, kind: str) -> list[str]:
        """Return the registered names of a kind (heads, hooks, ...), as `run.py --list` prints them."""
        command = self.command_line(Command(["--list", kind]))
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return [line for line in printed.splitlines() if line and not line.startswith(" ")]

    def check_installation(self) -> None:
        """Check that the environment has this repository installed.

        Raises:
            ValueError: if importing `research` would find a different copy.
        """
        code = "import importlib.util; print(importlib.util.find_spec('research').origin)"
        done = subprocess.run([str(self.python), "-c", code], capture_output=True, text=True, check=False, cwd="/")
        if done.returncode != 0 or self.repository not in Path(done.stdout.strip()).parents:
            origin = done.stdout.strip() or done.stderr.strip().splitlines()[-1]
            raise ValueError(
                f"Expected {self.repository} to be installed in editable mode for {self.python}; found {origin}."
            )


# Inputs. They have the same bytes in each recording.

ENCODER = "../../inputs/encoder"
"""Path of the encoder from the working directory of a case."""
WORDS = """
the a and of to is it in this that was movie film not good great bad poor plot acting very but with for as one like just
so story more time really well even best worst love boring funny
"""
WRITE_ENCODER = """
import string, sys
from pathlib import Path
import torch
from transformers import BertConfig, BertModel, BertTokenizerFast

folder = Path(sys.argv[1])
characters = string.ascii_lowercase + string.digits + string.punctuation
tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
tokens += [*characters, *(f"##{character}" for character in characters), *sys.argv[2].split()]
tokens = list(dict.fromkeys(tokens))
vocabulary = folder / "vocab.txt"
vocabulary.write_text("\\n".join(tokens) + "\\n", encoding="utf-8")
tokenizer = BertTokenizerFast(vocab=str(vocabulary), model_max_length=96)
tokenizer.save_pretrained(folder)
torch.manual_seed(0)
config = BertConfig(
    vocab_size=len(tokenizer),
    hidden_size=32,
    num_hidden_layers=6,
    num_attention_heads=2,
    intermediate_size=48,
    max_position_embeddings=96,
)
BertModel(config, add_pooling_layer=False).save_pretrained(folder)
"""
CUT_PLUGIN = '''
import os
import signal

from research import Hook, register_hook


@register_hook("cut")
class Cut(Hook):
    """Send this process a signal after a step: CUT=13:SIGKILL."""

    def after_step(self, run):
        step, _, name = os.environ.get("CUT", "").partition(":")
        if step == str(run.clock.step):
            os.kill(os.getpid(), getattr(signal, name))
'''
ALL_EDITS = [
    {"at": "2st", "unfreeze": "encoder.embeddings", "scale_lr": 0.5},
    {"at": "4st", "freeze": "encoder.layer[:2]"},
    {"at": "5st", "set_dropout": {"modules": "head", "p": 0.3}},
    {"at": "6st", "replace_head": {"name": "gru", "gru_size": 16}},
    {"at": "8st", "set_objective": {"name": "focal", "gamma": 1.0}},
    {"at": "10st", "set_max_length": 32},
    {"at": "11st", "unfreeze": "encoder"},
    {"at": "12st", "set_lr": {"lr": 0.003, "modules": "head"}},
    {"at": "13st", "set_weight_decay": {"weight_decay": 0.3, "modules": "encoder"}},
    {"at": "14st", "add_lora": {"r": 2, "dropout": 0.1}},
    {"at": "18st", "merge_lora": True},
    {"at": "19st", "reinitialize": "encoder.layer[-1]"},
    {"at": "20st", "drop_layers": "encoder.layer[0]"},
    {"every": "30%", "scale_lr": {"factor": 0.9, "modules": "head"}},
    {"when": "below(validation/loss, 9)", "set_dropout": {"modules": "encoder", "p": 0.2}},
]
"""A timeline with every edit. The time "2st" is the boundary after step 2."""
SOME_EDITS = [
    {"at": "2st", "unfreeze": "encoder.layer[-1:]"},
    {"at": "5st", "replace_head": {"name": "lstm", "lstm_size": 16}},
    {"at": "9st", "unfreeze": "encoder", "set_dropout": {"modules": "head", "p": 0.2}},
    {"at": "11st", "add_lora": {"r": 2}},
    {"at": "16st", "merge_lora": True},
    {"at": "18st", "set_max_length": 48},
]
NUM_ROWS = {"train": 60, "validation": 15, "test": 20}


def write_inputs(folder: Path, python: Path) -> None:
    """Write the encoder, data files, recipes and the plugin that the cases use."""
    encoder = folder / "encoder"
    encoder.mkdir(parents=True)
    subprocess.run([str(python), "-c", WRITE_ENCODER, str(encoder), WORDS], check=True, capture_output=True)
    (folder / "cut.py").write_text(CUT_PLUGIN, encoding="utf-8")
    for name, timeline in (("all_edits", ALL_EDITS), ("some_edits", SOME_EDITS)):
        frozen = ["encoder.embeddings"] if name == "all_edits" else ["encoder"]
        recipe = {"head": {"name": "linear", "dropout": 0.1}, "freeze": frozen, "timeline": timeline}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    for name in ("multi_label", "scores", "compressed", "no_header", "separated"):
        (folder / name).mkdir()
    for split, num_rows in NUM_ROWS.items():
        rows = range(num_rows)
        texts = [_make_sentence(split, row) for row in rows]
        labels = [
            [label for divisor, label in ((2, "joy"), (3, "anger"), (5, "fear")) if row % divisor == 0] for row in rows
        ]
        json_lines = "".join(
            json.dumps({"text": text, "labels": names}) + "\n" for text, names in zip(texts, labels, strict=True)
        )
        (folder / "multi_label" / f"{split}.jsonl").write_text(json_lines, encoding="utf-8")
        pairs = "".join(f"{text},{_make_sentence('second', row)},{row % 26 / 5}\n" for row, text in enumerate(texts))
        (folder / "scores" / f"{split}.csv").write_text(f"sentence1,sentence2,score\n{pairs}", encoding="utf-8")
        # Row 7 of training and validation has no label and is skipped; none of the test rows has a label.
        answers = ["" if split == "test" or row == 7 else ("yes", "no", "maybe")[row % 3] for row in rows]
        html = "".join(f'"<b>The</b>  {text}<br>",{label}\n' for text, label in zip(texts, answers, strict=True))
        compressed = gzip.compress(f"text,label\n{html}".encode(), mtime=0)
        (folder / "compressed" / f"{split}.csv.gz").write_bytes(compressed)
        # The quotation mark that is never closed is part of the text: the case has `--quoting none`.
        tab_separated = "".join(f'{("low", "high")[row % 2]}\t"{text}\n' for row, text in enumerate(texts))
        (folder / "no_header" / f"{split}.tsv").write_text(tab_separated, encoding="utf-8")
        table = pa.table({"text": texts, "label": ["|".join(names or ["other"]) for names in labels]})
        pq.write_table(table, folder / "separated" / f"{split}.parquet")
        for label in ("neg", "pos"):
            if split == "validation":
                continue
            target = folder / "aclImdb" / split / label
            target.mkdir(parents=True)
            for row in rows:  # as in aclImdb, file names end with the rating of the review
                (target / f"{row}_{8 if label == 'pos' else 2}.txt").write_text(
                    f"{label} {texts[row]}", encoding="utf-8"
                )


def _make_sentence(split: str, row: int) -> str:
    generator = random.Random(f"{split} {row}")
    return " ".join([f"{split} {row}", *generator.choices(WORDS.split(), k=generator.randint(3, 20))])


# Cases.


def _run_flags(name: str, *settings: str, steps: int = 24) -> list[str]:
    """Return the flags of a short run with the tiny encoder on some of the packaged reviews."""
    return [
        *("--name", name, "--encoder", ENCODER, "--max_steps", str(steps), "--max_length", "80", "--batch_size", "8"),
        *("--limit_train", "120", "--limit_validation", "40", "--limit_test", "40", "--log_every", "1"),
        *("--num_threads", "1", "--mixed_precision", "no", "--seed", "3"),
        *settings,
    ]


def _file_flags(name: str, data: str, *settings: str) -> list[str]:
    """Return the flags of a short run with the tiny encoder on files that `write_inputs` wrote."""
    return [
        *("--name", name, "--encoder", ENCODER, "--data", f"../../inputs/{data}", "--epochs", "2", "--batch_size", "8"),
        *(
            "--max_length",
            "80",
            "--log_every",
            "1",
            "--num_threads",
            "1",
            "--mixed_precision",
            "no",
            "--log_with",
            "[]",
        ),
        *settings,
    ]


HOOK_OPTIONS = {
    "early_stopping": ["--hook.early_stopping.patience", "1", "--evaluate_every", "2st"],
    "length_warmup": ["--hook.length_warmup.start", "16"],
    "loss_spike_guard": ["--hook.loss_spike_guard.window", "2", "--hook.loss_spike_guard.threshold", "0.5"],
}
"""Additional settings for hooks that would otherwise have no effect in a short run."""
OBJECTIVE_DATA = {"bce": "multi_label", "mse": "scores"}
"""Data folders for objectives that do not support single-label tasks."""
WITHOUT_TRACKERS = ("--log_with", "[]")


def list_cases(checkout: Checkout) -> dict[str, list[Command]]:
    """Return the commands of each case, by name."""
    cases: dict[str, list[Command]] = {}
    recipes = sorted((checkout.repository / "experiments" / "recipes").glob("*.yaml"))
    for recipe in recipes:
        smoke = ["--recipe", str(recipe), "--smoke", "--name", "run", "--num_threads", "1"]
        cases[f"smoke-{recipe.stem}"] = [Command(smoke)]
    for recipe in recipes:
        cases[f"recipe-{recipe.stem}"] = [Command(_run_flags("run", "--recipe", str(recipe)))]
    for head in checkout.registered_names("heads"):
        cases[f"head-{head}"] = [Command(_run_flags("run", "--head", head, *WITHOUT_TRACKERS, steps=8))]
    for hook in checkout.registered_names("hooks"):
        options = ["--hook", hook, *HOOK_OPTIONS.get(hook, []), *WITHOUT_TRACKERS]
        cases[f"hook-{hook}"] = [Command(_run_flags("run", *options, steps=12))]
    for objective in checkout.registered_names("objectives"):
        options = ["--objective", objective, "--head", "mean", *WITHOUT_TRACKERS]
        data = OBJECTIVE_DATA.get(objective)
        arguments = _run_flags("run", *options, steps=8) if data is None else _file_flags("run", data, *options)
        cases[f"objective-{objective}"] = [Command(arguments)]
    for schedule in checkout.registered_names("schedules"):
        options = ["--schedule", schedule, "--evaluate_every", "2st", *WITHOUT_TRACKERS]
        cases[f"schedule-{schedule}"] = [Command(_run_flags("run", *options, steps=12))]
    return {**cases, **_cases_of_settings(), **_cases_of_data(), **_cases_of_continuations(), **_cases_of_studies()}


def _cases_of_settings() -> dict[str, list[Command]]:
    edits = ["--recipe", "../../inputs/all_edits.yaml", "--save_every", "8st", "--keep", "9", "--evaluate_every", "6st"]
    micro_batches = [
        "--micro_batch_size",
        "3",
        "--optimizer",
        "sgd",
        "--schedule_interval",
        "epoch",
        "--best_metric",
        "loss",
    ]
    compiled = ["--compile", "--compile_backend", "eager", "--timeline", "{at: 3st, replace_head: mlp}"]
    return {
        "edits": [Command(_run_flags("run", *edits))],
        "micro-batches": [Command(_run_flags("run", *micro_batches, "--head", "lstm", *WITHOUT_TRACKERS))],
        "bf16": [
            Command(_run_flags("run", "--mixed_precision", "bf16", "--head", "attention", *WITHOUT_TRACKERS, steps=8))
        ],
        "compiled": [Command(_run_flags("run", *compiled, *WITHOUT_TRACKERS, steps=6))],
        "two-processes": [Command(_run_flags("run", *edits), num_processes=2)],
    }


def _cases_of_data() -> dict[str, list[Command]]:
    cleaned = ["--cleaning", "strip_html,collapse_whitespace,lowercase", "--bad_rows", "skip"]
    return {
        "multi-label": [Command(_file_flags("run", "multi_label", "--head", "attention"))],
        "regression": [Command(_file_flags("run", "scores", "--head", "mean"))],
        "data-compressed": [Command(_file_flags("run", "compressed", *cleaned))],
        "data-no-header": [Command(_file_flags("run", "no_header", "--columns", "label,text", "--quoting", "none"))],
        "data-separated": [Command(_file_flags("run", "separated", "--label_separator", "|", "--head", "mlp"))],
        "data-folders": [Command(_file_flags("run", "aclImdb", "--truncation", "head", "--validation_share", "0.2"))],
    }


def _cases_of_continuations() -> dict[str, list[Command]]:
    settings = ["--recipe", "../../inputs/some_edits.yaml", "--hook", "ema", "--save_every", "4st", "--keep", "3"]
    cut_flags = _run_flags(
        "run", *settings, "--plugin", "../../inputs/cut.py", "--hook", "cut", "--best_metric", "loss"
    )
    resumed = Command([*cut_flags, "--resume", "auto"])
    killed, stopped = {"CUT": "13:SIGKILL"}, {"CUT": "13:SIGTERM"}
    fork = ["--fork", "runs/parent@step-8"]
    new_timeline = [
        "--timeline",
        "{at: 10st, replace_head: cnn}",
        "--timeline",
        "{at: 12st, drop_layers: 'encoder.layer[1]'}",
    ]
    return {
        "resumed-after-kill": [Command(cut_flags, environment=killed, exit_status=-signal.SIGKILL), resumed],
        "resumed-after-signal": [Command(cut_flags, environment=stopped, exit_status=128 + signal.SIGTERM), resumed],
        "resumed-two-processes": [
            Command(cut_flags, num_processes=2, environment=killed, exit_status=1),  # of `accelerate launch`
            Command(resumed.arguments, num_processes=2),
        ],
        "fork": [
            Command(
                _run_flags("parent", "--recipe", "../../inputs/some_edits.yaml", "--save_every", "8st", "--keep", "9")
            ),
            Command([*fork, "--name", "twin"]),
            Command([*fork, "--name", "changed", "--head_lr", "0.005"]),
            Command([*fork, "--name", "edited", "--timeline", "{at: 20st, reinitialize: head}"]),
        ],
        "fork-replaced-timeline": [
            Command(_run_flags("parent", "--head", "linear", "--save_every", "8st", "--keep", "9")),
            Command([*fork, "--name", "child", *new_timeline]),
        ],
        "init-from": [
            Command(_run_flags("first", "--head", "scalar_mix", "--best_metric", "accuracy", *WITHOUT_TRACKERS)),
            Command(["--recipe", "runs/first/config.yaml", "--init_from", "runs/first", "--name", "second"]),
        ],
    }


def _cases_of_studies() -> dict[str, list[Command]]:
    def study(*settings: str) -> list[Command]:
        return [Command(_run_flags("study", "--head_lr", "0.02", *settings), script="ablate.py")]

    frozen = ["--freeze", "encoder", "--cache_features", "true", "--heads", "linear,mean"]
    return {
        "study-frozen": study(*frozen, "--seeds", "0,1"),
        "study-verdict": study(*frozen, "--seeds", "0,1,2,3,4", *WITHOUT_TRACKERS),
        "study-grid": study("--head", "mlp", "--grid", "lr=1e-4,1e-3", "--seeds", "0,1", "--workers", "2"),
    }


# Recording of files.


def read_files(folder: Path, placeholders: Mapping[str, str]) -> dict[str, Any]:
    """Return what is recorded of every file in a folder, by relative path.

    Args:
        folder: the working directory of a case.
        placeholders: strings that replace paths of this recording, by path.
    """
    contents: dict[str, Any] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        pattern = next((pattern for pattern in CONTENT_NOT_RECORDED if fnmatch.fnmatch(name, pattern)), None)
        if pattern is None:
            contents[name] = read_file(path, placeholders)
        elif pattern.endswith("/*"):  # record the folder only, since its file names may contain times
            directory = pattern.removeprefix("*").removesuffix("*")
            contents[name[: name.index(directory)] + directory] = "present"
        else:
            contents[name] = "present"
    return contents


def read_file(path: Path, placeholders: Mapping[str, str]) -> Any:
    """Return what is recorded of a file: its values if its type is known, otherwise its hash."""
    reader = READERS.get(path.suffix)
    if reader is None:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    if path.suffix == ".parquet":
        return reader(path)
    text = path.read_text(encoding="utf-8")
    for path_in_text, placeholder in placeholders.items():
        text = text.replace(path_in_text, placeholder)
    return drop_fields(reader(text), set(DROPPED_FIELDS.get(path.name, {})))


def drop_fields(value: Any, names: set[str]) -> Any:
    """Return a value without the fields of the given names, at any depth."""
    if isinstance(value, dict):
        return {name: drop_fields(item, names) for name, item in value.items() if name not in names}
    if isinstance(value, list):
        return [drop_fields(item, names) for item in value]
    return value


def _describe_table(path: Path) -> dict[str, Any]:
    table = pq.read_table(path)
    rows = json.dumps(table.to_pylist())
    schema = [f"{column.name}: {column.type}" for column in table.schema]
    return {"columns": schema, "num_rows": table.num_rows, "rows_sha256": hashlib.sha256(rows.encode()).hexdigest()}


def _lines_without_sections(text: str) -> list[str]:
    lines, is_dropped = [], False
    for line in text.splitlines():
        if line.startswith("## "):
            is_dropped = line in DROPPED_SECTIONS
        if not is_dropped:
            lines.append(line)
    return lines


READERS: dict[str, Callable[[Any], Any]] = {
    ".json": json.loads,
    ".jsonl": lambda text: [json.loads(line) for line in text.splitlines()],
    ".yaml": yaml.safe_load,
    ".csv": lambda text: list(csv.DictReader(io.StringIO(text))),
    ".md": _lines_without_sections,
    ".parquet": _describe_table,
}
"""By suffix, functions that return what is recorded of a file: from its path for .parquet, otherwise from its text."""


# Recording.


def record(checkout: Checkout, folder: Path, only: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Run the cases, and yield the name and the record of each finished case.

    Args:
        checkout: the repository to record.
        folder: an empty folder for inputs, cache and runs.
        only: pattern for the names of the cases to run.

    Raises:
        ValueError: if no case matches, or the environment has a different copy of the repository.
    """
    checkout.check_installation()
    cases = {name: case for name, case in list_cases(checkout).items() if fnmatch.fnmatch(name, only)}
    if not cases:
        raise ValueError(f"No case matches '{only}'. Cases: {', '.join(list_cases(checkout))}.")
    write_inputs(folder / "inputs", checkout.python)
    with ThreadPoolExecutor(NUM_PARALLEL_CASES) as pool:
        running = {pool.submit(run_case, checkout, folder, name, case): name for name, case in cases.items()}
        for done in as_completed(running):
            yield running[done], done.result()


def run_case(checkout: Checkout, folder: Path, name: str, commands: Sequence[Command]) -> dict[str, Any]:
    """Run the commands of a case, and return the record of their files."""
    started = time.monotonic()
    workspace = folder / "cases" / name
    workspace.mkdir(parents=True)
    exit_statuses = []
    for command in commands:
        status, printed = _run(checkout, command, workspace, folder / "cache")
        exit_statuses.append(status)
        if status != command.exit_status:
            failure = f"expected exit status {command.exit_status}, got {status}: {printed[-3000:]}"
            return {"seconds": time.monotonic() - started, "failed": failure}
    placeholders = {str(folder): "<folder>", str(checkout.repository): "<repository>"}
    files = read_files(workspace, placeholders)
    return {"seconds": time.monotonic() - started, "exit_statuses": exit_statuses, "files": files}


def _run(checkout: Checkout, command: Command, cwd: Path, cache: Path) -> tuple[int, str]:
    environment = {**os.environ, "MIDWAY_CACHE": str(cache), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    environment |= command.environment
    arguments = checkout.command_line(command)
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    with subprocess.Popen(arguments, cwd=cwd, env=environment, start_new_session=True, **pipes) as process:
        try:
            printed, _ = process.communicate(timeout=TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            printed, _ = process.communicate()
    return process.returncode, printed


def record_into(output: Path, checkout: Checkout, folder: Path, only: str) -> int:
    """Record all matching cases into a file, which is written after each case; return the number of failed cases."""
    cases: dict[str, dict[str, Any]] = {}
    started = time.monotonic()
    for name, case in record(checkout, folder, only):
        cases[name] = case
        output.write_text(json.dumps({"cases": dict(sorted(cases.items()))}, indent=1), encoding="utf-8")
        outcome = case.get("failed") or f"{len(case['files'])} files"
        print(f"{name}: {outcome} ({case['seconds']:.0f} s)", flush=True)
    num_failed = sum("failed" in case for case in cases.values())
    minutes = (time.monotonic() - started) / 60
    print(f"{len(cases)} cases recorded in {minutes:.1f} min, {num_failed} failed")
    return num_failed


# Comparison.


def find_differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the place of each difference between two recordings, as `case/file:field`, and its description."""
    for name in sorted({*before["cases"], *after["cases"]}):
        pair = [recording["cases"].get(name) for recording in (before, after)]
        if None in pair:
            yield name, f"only in the {'second' if pair[0] is None else 'first'} recording"
            continue
        for case in pair:
            if "failed" in case:
                yield name, f"failed: {case['failed']}"
        if any("failed" in case for case in pair):
            continue
        yield from _find_differing_values(f"{name}:exit_statuses", *(case["exit_statuses"] for case in pair))
        for file in sorted({*pair[0]["files"], *pair[1]["files"]}):
            contents = [case["files"].get(file) for case in pair]
            if None in contents:
                yield f"{name}/{file}", f"only in the {'second' if contents[0] is None else 'first'} recording"
            else:
                yield from _find_differing_values(f"{name}/{file}:", *contents)


def _find_differing_values(place: str, before: Any, after: Any) -> Iterator[tuple[str, str]]:
    prefix = place if place.endswith(":") else f"{place}."
    if isinstance(before, dict) and isinstance(after, dict):
        for key in [*before, *(key for key in after if key not in before)]:
            if key not in before or key not in after:
                value = before.get(key, after.get(key))
                yield f"{prefix}{key}", f"only in the {'first' if key in before else 'second'}: {json.dumps(value)}"
            else:
                yield from _find_differing_values(f"{prefix}{key}", before[key], after[key])
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, items in enumerate(zip(before, after, strict=True)):
            yield from _find_differing_values(f"{prefix}{index}", *items)
    elif json.dumps(before) != json.dumps(after):  # unlike ==, this distinguishes 1, 1.0 and True, and NaN equals NaN
        yield place, f"{json.dumps(before)} -> {json.dumps(after)}"


def compare(before: Mapping[str, Any], after: Mapping[str, Any], ignored: Sequence[str] = ()) -> int:
    """Print the differences between two recordings.

    Args:
        before: the first recording.
        after: the second recording.
        ignored: patterns for the places of differences that are only counted.

    Returns:
        1 if there are differences that are not ignored, or no cases; otherwise 0.
    """
    num_cases = len({*before["cases"], *after["cases"]})
    differing_cases: set[str] = set()
    num_differences = num_ignored = 0
    for place, description in find_differences(before, after):
        if any(fnmatch.fnmatch(place, pattern) for pattern in ignored):
            num_ignored += 1
            continue
        num_differences += 1
        differing_cases.add(place.split("/")[0].split(":")[0])
        print(f"{place}: {description}")
    ignored_text = f", {num_ignored} differences ignored" if num_ignored else ""
    if num_cases == 0 or differing_cases:
        print(f"{num_cases} cases: {num_differences} differences in {len(differing_cases)} cases{ignored_text}")
        return 1
    print(f"{num_cases} cases: all equal{ignored_text}")
    return 0


def main(arguments: Sequence[str]) -> int:
    """Record or compare, depending on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    recording = actions.add_parser("record", help="run the cases of a repository and record their files")
    recording.add_argument("--repository", type=Path, required=True, help="checkout whose scripts are run")
    recording.add_argument(
        "--python", type=Path, required=True, help="Python interpreter of an environment with the checkout"
    )
    recording.add_argument("--output", type=Path, required=True, help="JSON file to write")
    recording.add_argument("--folder", type=Path, help="new folder for the runs, kept (default: temporary, removed)")
    recording.add_argument("--only", default="*", help="pattern for names of cases, such as 'head-*'")
    comparing = actions.add_parser("compare", help="compare two recordings")
    comparing.add_argument("before", type=Path, help="JSON file of the first recording")
    comparing.add_argument("after", type=Path, help="JSON file of the second recording")
    comparing.add_argument("--only", default="*", help="pattern for names of cases, such as 'head-*'")
    comparing.add_argument(
        "--ignore", action="append", default=[], help="pattern for intended differences; may be repeated"
    )
    options = parser.parse_args(arguments)
    if options.action == "record":
        # Do not resolve --python: in an environment, it is a link to an interpreter outside of it.
        checkout = Checkout(options.repository.resolve(), options.python.absolute())
        folder = Path(tempfile.mkdtemp(prefix="midway-record-")) if options.folder is None else options.folder.resolve()
        try:
            folder.mkdir(parents=True, exist_ok=options.folder is None)
            return 1 if record_into(options.output, checkout, folder, options.only) else 0
        except (ValueError, FileExistsError) as error:
            parser.error(str(error))
        finally:
            if options.folder is None:
                shutil.rmtree(folder)
    before, after = (json.loads(path.read_text(encoding="utf-8")) for path in (options.before, options.after))
    for recording_content in (before, after):
        recording_content["cases"] = {
            name: case for name, case in recording_content["cases"].items() if fnmatch.fnmatch(name, options.only)
        }
    return compare(before, after, ignored=options.ignore)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
