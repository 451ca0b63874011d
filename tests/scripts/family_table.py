"""Try every family of encoders that Midway knows, on one and two processes, and print what works as a table.

`python -m tests.scripts.family_table` trains a tiny encoder of each family with random weights. A cell is `yes`, or the
number of the reason below the table for which Midway refuses it in one line. `--families bert,llama` tries only some of
them, and `--output FILE` writes the table to a file. All families take about 25 minutes on two cores.
"""

from __future__ import annotations

import argparse
import copy
import functools
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from research.model.encoder_with_head import EncoderWithHead
from research.model.families import is_causal, pads_left
from research.model.family_table import FAMILIES
from research.system.errors import one_line
from research.training.run import TrainingRun
from tests.builders.tiny_decoder import save_tiny_decoder
from tests.builders.tiny_families import tiny_family_config, tiny_family_encoder
from tests.conftest import ROOT, WORDS, command_line
from tests.launched.runs_in_process import prepare_run, read_by_rank, train_and_end, write_by_rank

EDITS: dict[str, list[dict[str, Any]]] = {
    "trains": [],
    "freeze": [{"at": "2st", "freeze": "encoder.layer"}],
    "unfreeze": [{"at": "0%", "freeze": "encoder"}, {"at": "2st", "unfreeze": "encoder"}],
    "layer": [{"at": "2st", "freeze": "encoder.layer[-1:]"}],
    "replace_head": [{"at": "2st", "replace_head": {"name": "attention"}}],
    "add_lora": [{"at": "2st", "add_lora": {"r": 2, "targets": "attention"}}],
    "merge_lora": [{"at": "1st", "add_lora": {"r": 2}}, {"at": "3st", "merge_lora": True}],
    "set_bidirectional": [{"at": "2st", "set_bidirectional": True}],
}
"""The timeline of each column that is a run. A run has four steps."""
FAMILIES_PER_LAUNCH = 8
COLUMNS = (*EDITS, "save and load", "batched = single, right", "batched = single, left", "2 processes")
MAX_DIFFERENCE = 1e-5
"""Largest accepted difference between a row in a padded batch and the row alone, relative to the hidden states."""
MAX_DIFFERENCE_OF_PROCESSES = 1e-3
"""Largest accepted difference of logits after training on one and two processes, relative to the logits."""


def save_encoder(family: str, folder: Path) -> None:
    """Save a tiny encoder of a family with a tokenizer for the words of the tiny reviews."""
    if family == "qwen2":  # AutoTokenizer always loads its byte-level tokenizer
        shutil.rmtree(folder)
        save_tiny_decoder(folder, family=family, pad_token="<|endoftext|>")
        return
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]) + "\n", encoding="utf-8")
    has_types = family in ("bert", "albert", "electra", "xlnet")
    names = ["input_ids", *(["token_type_ids"] if has_types else []), "attention_mask"]
    tokenizer = transformers.BertTokenizer(vocab=str(vocabulary), model_input_names=names)
    tokenizer.save_pretrained(folder)
    config = tiny_family_config(family, vocab_size=len(tokenizer), pad_token_id=0)
    whole_model = config.is_encoder_decoder
    if whole_model:
        torch.manual_seed(0)
        transformers.AutoModel.from_config(config).save_pretrained(folder)
    else:
        tiny_family_encoder(family, vocab_size=len(tokenizer), pad_token_id=0).save_pretrained(folder)


def write_reviews(folder: Path) -> None:
    """Write short reviews for training, validation and test."""
    for split, num_rows in (("train", 40), ("validation", 8), ("test", 8)):
        lines = ["text,label"]
        for row in range(num_rows):
            words = [WORDS[(row * 7 + index) % len(WORDS)] for index in range(1 + row % 9)]
            lines.append(f"{' '.join(words)},{'positive' if row % 2 else 'negative'}")
        (folder / f"{split}.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def try_family(family: str, data: Path) -> dict[str, Any]:
    """Return what works with a family: for each column True or the reason of a refusal, and logits after training."""
    cells: dict[str, Any] = {}
    encoder = data.parent / family
    with tempfile.TemporaryDirectory() as folder:
        trained: TrainingRun | None = None
        for name, timeline in EDITS.items():
            settings = {"timeline": timeline} if timeline else {}
            run, cells[name] = attempt(functools.partial(train_tiny_model, encoder, data, folder, **settings))
            trained = run if name == "trains" else trained
        if trained is None:
            return cells
        model = trained.encoder_with_head.eval()
        _, cells["save and load"] = attempt(lambda: check_save_and_load(model, Path(folder) / "model"))
        for side in ("right", "left"):
            _, cells[f"batched = single, {side}"] = attempt(functools.partial(check_padding, model, trained, side))
        cells["logits"] = model(**probe(model)).logits.tolist()
    return cells


def attempt(action: Callable[[], Any]) -> tuple[Any, bool | str]:
    """Return the result of an action, and True; or None, and the reason why it was refused."""
    try:
        return action(), True
    except ValueError as error:  # also EditError, EncoderError and HeadError
        return None, one_line(error)
    except Exception as error:  # a crash is shown as one
        traceback.print_exc()
        return None, f"CRASH {type(error).__name__}: {one_line(error)}"


def train_tiny_model(encoder: Path, data: Path, folder: str, **settings: Any) -> TrainingRun:
    """Train for four steps, and check that the trainable parameters have changed."""
    directory = Path(tempfile.mkdtemp(dir=folder))
    run = prepare_run(
        str(directory),
        [],
        encoder=str(encoder),
        data=str(data),
        max_steps=4,
        optimizer="sgd",
        lr=0.01,
        head_lr=0.05,
        dropout=0.0,  # so that one process and two have the same losses
        attention_dropout=0.0,
        mixed_precision="no",
        **settings,
    )
    run.encoder_with_head.head.apply(lambda module: setattr(module, "p", 0.0) if hasattr(module, "p") else None)
    before = {name: value.detach().clone() for name, value in run.encoder_with_head.named_parameters()}
    train_and_end(run)
    after = dict(run.encoder_with_head.named_parameters())
    changed = sum(not torch.equal(value, after[name]) for name, value in before.items() if name in after)
    assert changed > 0, "no parameter has changed"
    assert all(bool(value.isfinite().all()) for value in after.values()), "a weight is not finite"
    return run


def probe(model: EncoderWithHead) -> dict[str, Tensor]:
    """Return a few rows of different lengths, padded on the right."""
    size = model.config.encoder.vocab_size
    ids = torch.randint(5, size, (3, 9), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(9) < torch.tensor([[9], [6], [3]])).long()
    return {"input_ids": ids * mask, "attention_mask": mask}


@torch.no_grad()
def check_save_and_load(model: EncoderWithHead, folder: Path) -> None:
    """Check that a saved model has the same logits after loading."""
    saved = copy.deepcopy(model)
    saved.save_pretrained(folder, is_main_process=True)
    loaded = EncoderWithHead.from_pretrained(folder).eval()
    difference = (loaded(**probe(model)).logits - model(**probe(model)).logits).abs()
    assert float(difference.max()) < 1e-6, f"logits differ by {difference.max():.1g}"


@torch.no_grad()
def check_padding(model: EncoderWithHead, run: TrainingRun, side: str) -> None:
    """Check that the rows of a batch have the same hidden states as alone, with padding on a side."""
    tokenizer = copy.deepcopy(run.tokenizer)
    tokenizer.padding_side = side
    if side == "left" and not pads_left(model.config.encoder, tokenizer):
        raise ValueError("Positions count from the left end: Midway pads on the right, whatever the tokenizer says.")
    inputs = probe(model)
    lengths = inputs["attention_mask"].sum(1).tolist()
    ids, mask = torch.zeros(3, 16, dtype=torch.long), torch.zeros(3, 16, dtype=torch.long)
    alone = []
    for row, length in enumerate(lengths):
        positions = slice(16 - length, 16) if side == "left" else slice(length)
        ids[row, positions], mask[row, positions] = inputs["input_ids"][row, :length], 1
        states = model.run_encoder(ids[row : row + 1, positions], mask[row : row + 1, positions], all_layers=False)
        assert isinstance(states, Tensor)
        alone.append(states[0])
    batched = model.run_encoder(ids, mask, all_layers=False)
    assert isinstance(batched, Tensor)
    scale = max(float(states.abs().max()) for states in alone)
    change = max(float((batched[row][mask[row].bool()] - states).abs().max()) for row, states in enumerate(alone))
    assert change < MAX_DIFFERENCE * scale, f"hidden states differ by {change / scale:.1g}"


def try_families(families: Sequence[str], data: Path, output: Path) -> None:
    """Try families on the processes of the launcher, and write the results of each process."""
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    logging.disable(logging.WARNING)
    write_by_rank(output, {family: try_family(family, data) for family in families})


def launch(families: Sequence[str], folder: Path, num_processes: int) -> dict[str, dict[str, Any]]:
    """Try families on one or two processes, and return the results of the first process."""
    output = folder / f"results-{num_processes}"
    arguments = ["--families", ",".join(families), "--data", str(folder / "reviews"), "--results", str(output)]
    command = command_line(arguments, num_processes=num_processes, script=str(Path(__file__).resolve()))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MIDWAY_CACHE": str(folder / "cache")}
    subprocess.run(command, check=True, env=environment, cwd=folder, stdout=sys.stderr)
    results: dict[str, dict[str, Any]] = read_by_rank(output, num_processes)[0]
    return results


def launch_in_groups(families: Sequence[str], folder: Path, num_processes: int) -> dict[str, dict[str, Any]]:
    """Try a few families per launch. If a launch fails, its families are tried one by one."""
    results: dict[str, dict[str, Any]] = {}
    for start in range(0, len(families), FAMILIES_PER_LAUNCH):
        group = families[start : start + FAMILIES_PER_LAUNCH]
        print(f"{num_processes} process(es): {', '.join(group)}", file=sys.stderr, flush=True)
        try:
            results |= launch(group, folder, num_processes)
        except subprocess.CalledProcessError:
            if len(group) > 1:
                for family in group:
                    results |= launch_in_groups([family], folder, num_processes)
            else:
                results[group[0]] = {"trains": f"CRASH on {num_processes} process(es)"}
    return results


def compare(one: dict[str, Any], two: dict[str, Any]) -> bool | str:
    """Return True if two processes gave the same cells and logits as one, or what differs."""
    for column in (*EDITS, "save and load"):
        if (one.get(column) is True) != (two.get(column) is True):
            return f"{column}: {two.get(column)}"
    if "logits" not in one:
        return str(one["trains"])
    first, second = torch.tensor(one["logits"]), torch.tensor(two["logits"])
    difference = float((first - second).abs().max() / first.abs().max())
    return True if difference < MAX_DIFFERENCE_OF_PROCESSES else f"CRASH logits differ by {difference:.1g}"


def render(results: dict[str, dict[str, Any]]) -> str:
    """Return the table in Markdown, with the reasons of refusals below it. Families with equal cells share a row."""
    reasons: dict[str, int] = {}
    rows: dict[tuple[str, ...], list[str]] = {}
    for family, cells in results.items():
        config = tiny_family_config(family)
        kind = "encoder-decoder" if config.is_encoder_decoder else "decoder" if is_causal(config) else "encoder"
        texts = [kind]
        for column in COLUMNS:
            value = cells.get(column, cells["trains"])
            reason = _shorten_reason(str(value), family)
            texts.append("yes" if value is True else f"[{reasons.setdefault(reason, len(reasons) + 1)}]")
        rows.setdefault(tuple(texts), []).append(family)
    lines = ["| families | kind | " + " | ".join(COLUMNS) + " |", "|---|---|" + "---|" * len(COLUMNS)]
    lines += [
        f"| {', '.join(f'`{family}`' for family in families)} | {' | '.join(texts)} |"
        for texts, families in sorted(rows.items(), key=lambda row: (row[0][0], -len(row[1])))
    ]
    notes = [f"{number}. {reason}" for reason, number in reasons.items()]
    return "\n".join([*lines, "", *notes]) + "\n"


def _shorten_reason(reason: str, family: str) -> str:
    """Return a reason without the edit that was refused, the folder and name of the family, and the numbers."""
    reason = re.sub(r"^(trains: )?(After step \d+, \w+\(.*?\) \(requested by timeline entry \d+\): )?", "", reason)
    reason = re.sub(rf" \S*/{family} \({family}\)", "", reason).replace(f"'{family}'", "this").replace(family, "it")
    return re.split(r"\. |: it changes| \(model_type| with FOLDER", reason)[0]


def main() -> None:
    """Parse the command line; print the table, or try families as a process of a launcher."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--families", default=",".join(sorted(FAMILIES)), help="families, separated by commas")
    parser.add_argument("--output", type=Path, help="file to write the table to")
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--results", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    families = arguments.families.split(",")
    if arguments.results is not None:
        try_families(families, arguments.data, arguments.results)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "reviews").mkdir()
        write_reviews(folder / "reviews")
        for family in families:
            (folder / family).mkdir()
            save_encoder(family, folder / family)
        one, two = (launch_in_groups(families, folder, num_processes) for num_processes in (1, 2))
    results = {family: {**one[family], "2 processes": compare(one[family], two[family])} for family in families}
    table = render(results)
    print(table)
    if arguments.output is not None:
        arguments.output.write_text(table, encoding="utf-8")
    crashes = [family for family in families if "CRASH" in json.dumps(results[family])]
    if crashes:
        sys.exit(f"These families crashed: {', '.join(crashes)}")


if __name__ == "__main__":
    main()
