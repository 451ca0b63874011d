"""Compare the time of a study of heads on a frozen encoder with Transformers' Trainer and with a lower bound.

    python experiments/benchmarks/frozen_heads.py runs/frozen_heads --rounds 1

- Midway runs the whole study of experiments/studies/heads.yaml with an empty cache, timed from its start to its report.
- The Trainer runs one trial of each head in a new process, with seed 0, bf16, padding to the longest row of a batch,
  Midway's order of rows, and no attention dropout. Its time is multiplied by the number of seeds.
- The floor is the lower bound: a loop written by hand that runs the encoder once on all rows, and then trains and
  evaluates every head on the stored hidden states. It is measured with one seed; the time for the heads, but not for
  the encoder, is multiplied by the number of seeds.

Afterwards, the results of a study are compared with those of single runs: every head is trained once within the study's
short version, with stored hidden states, and once by run.py with `--cache_features false`, both in float32. The largest
difference between logits and the number of different labels are printed.

With --heads, the Trainer trains only some heads. For every remaining head, the Trainer's time is estimated as the
floor's time for that head plus the Trainer's mean overhead: the Trainer's time minus the floor's, averaged over the
heads that the Trainer trained.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from research.studies.grid import Trial

ROOT = Path(__file__).parents[2]
STUDY = ROOT / "experiments" / "studies" / "heads.yaml"


def time_study(folder: Path, study_flags: list[str]) -> dict[str, float]:
    """Run the study with Midway and an empty cache, and return its duration in seconds under the key `all`."""
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        command = [
            sys.executable,
            str(ROOT / "experiments" / "ablate.py"),
            *study_flags,
            "--output_dir",
            str(folder / "study"),
        ]
        started = time.perf_counter()
        subprocess.run(command, check=True, env={**os.environ, "MIDWAY_CACHE": cache})
        return {"all": time.perf_counter() - started}


def first_trials(study_flags: list[str]) -> list[Trial]:
    """Return one trial of each arm: the one with the first seed."""
    from research.studies.command import StudyCommand, parse_study
    from research.studies.grid import expand

    command = parse_study(study_flags)
    assert isinstance(command, StudyCommand)
    first: dict[str, Trial] = {}
    for trial in expand(command.spec):
        first.setdefault(trial.arm, trial)
    return list(first.values())


def compare_with_single_runs(folder: Path, study_flags: list[str]) -> str:
    """Train each head within a study and in a single run that stores no hidden states, and return the differences."""
    import numpy as np
    import pyarrow.parquet as pq

    from research.records.predictions_file import predictions_path
    from research.records.results import config_as_yaml

    def read_logits(directory: Path) -> Any:
        # Without a constant per row, which does not change the probabilities.
        table = pq.read_table(predictions_path(directory, "test"))
        scores = [table.column(name).to_numpy() for name in table.column_names if name.startswith("score_")]
        return np.log(np.stack(scores, axis=1))

    study_flags = [*study_flags, "--seeds", "0", "--mixed_precision", "no"]
    study_folder, recipe = folder / "study", folder / "recipe.yaml"
    scripts = ROOT / "experiments"
    command = [sys.executable, str(scripts / "ablate.py"), *study_flags, "--output_dir", str(study_folder)]
    subprocess.run(command, check=True)
    lines = ["| head | largest difference between logits | different labels |", "|---|---|---|"]
    for trial in first_trials(study_flags):
        alone_folder = folder / trial.id
        recipe.write_text(config_as_yaml(trial.config(cache_features=False)), encoding="utf-8")
        command = [sys.executable, str(scripts / "run.py"), "--recipe", str(recipe), "--output_dir", str(alone_folder)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        in_study, alone = read_logits(study_folder / "trials" / trial.id), read_logits(alone_folder)
        num_different = int((in_study.argmax(axis=1) != alone.argmax(axis=1)).sum())
        lines.append(f"| {trial.arm} | {np.abs(in_study - alone).max():.1e} | {num_different} of {len(alone):,} |")
    return "\n".join(lines)


def load_parts(trial: Trial) -> tuple[Any, Any, Any, Any]:
    """Return the tokenized splits, collator, model and tokenizer of a trial."""
    import torch

    from research.data.batches.collate import Collator
    from research.data.batches.tokens import tokenize_splits
    from research.data.prepare.load import load_splits
    from research.model.build_model import build_model
    from research.model.encoders import load_tokenizer
    from research.system.messages import messages_muted

    config = trial.config()
    tokenizer = load_tokenizer(config.encoder)
    with messages_muted():
        splits = tokenize_splits(load_splits(config), tokenizer)
    collator = Collator(tokenizer, splits.task, max_length=config.max_length, truncation=config.truncation, pair=False)
    torch.manual_seed(config.seed)
    model = build_model(config, splits.task)
    model.encoder.requires_grad_(requires_grad=False)
    return splits, collator, model, tokenizer


def train_with_trainer(folder: Path, study_flags: list[str], arm: str) -> None:
    """Train one head with the Trainer, evaluate after every epoch, and predict the test rows."""
    import numpy as np
    import torch
    from transformers import Trainer, TrainingArguments

    from research.data.batches.order import global_batches

    (trial,) = [trial for trial in first_trials(study_flags) if trial.arm == arm]
    config = trial.config()
    splits, collator, model, _ = load_parts(trial)
    lengths = splits.train.with_format("numpy")["length"][:]
    batches_by_epoch = [
        global_batches(lengths, config.batch_size, config.seed, epoch) for epoch in range(int(config.epochs))
    ]

    def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
        batch = collator(rows)
        return {**batch.inputs, "labels": batch.labels}

    class MidwayOrderTrainer(Trainer):
        """A Trainer that uses Midway's batches: the same rows in the same order."""

        def get_train_dataloader(self) -> Any:
            batches = itertools.chain.from_iterable(batches_by_epoch)

            class NextEpochSampler(torch.utils.data.Sampler[list[int]]):
                """A sampler that yields the batches of the next epoch each time it is iterated over."""

                def __iter__(self) -> Any:
                    return (rows.tolist() for rows in itertools.islice(batches, len(batches_by_epoch[0])))

                def __len__(self) -> int:
                    return len(batches_by_epoch[0])

            return torch.utils.data.DataLoader(splits.train, batch_sampler=NextEpochSampler(), collate_fn=collate)

        def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
            rows = self.eval_dataset if eval_dataset is None else eval_dataset
            return _loader_by_length(rows, config.evaluation_batch_size, collate)

        def get_test_dataloader(self, test_dataset: Any) -> Any:
            return _loader_by_length(test_dataset, config.evaluation_batch_size, collate)

    arguments = TrainingArguments(
        output_dir=str(folder / "trainer"),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        learning_rate=config.head_lr or config.lr,
        weight_decay=config.weight_decay,
        bf16=True,
        optim="adamw_torch_fused",
        eval_strategy="epoch",
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        seed=config.seed,
    )
    trainer = MidwayOrderTrainer(
        model=model, args=arguments, train_dataset=splits.train, eval_dataset=splits.validation, data_collator=collate
    )
    trainer.train()
    test_output = trainer.predict(splits.test)
    assert isinstance(test_output.predictions, np.ndarray)  # one output, not a tuple of several
    accuracy = float((test_output.predictions.argmax(axis=1) == test_output.label_ids).mean())
    trainer.save_model(str(folder / "trainer" / "model"))
    assert np.isfinite(test_output.predictions).all()
    print(json.dumps({"accuracy": accuracy}))


HiddenStates = dict[str, list[Any]]
"""By split, for each row, the hidden states of each layer without padding."""


def time_floor(study_flags: list[str]) -> dict[str, float]:
    """Run the encoder once on all rows, train and evaluate every head on its output, and return the seconds of each."""
    import torch

    trials = first_trials(study_flags)
    splits, collator, model, _ = load_parts(trials[0])
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    started = time.perf_counter()
    hidden_states = run_encoder(splits, collator, model, trials[0].config().evaluation_batch_size)
    seconds = {"encoder": time.perf_counter() - started}
    for trial in trials:
        started = time.perf_counter()
        train_head(trial, splits, hidden_states, model.config.encoder)
        seconds[trial.arm] = time.perf_counter() - started
    return seconds


def run_encoder(splits: Any, collator: Any, model: Any, batch_size: int) -> HiddenStates:
    """Return the hidden states of all rows, computed in bf16."""
    import torch

    from research.data.batches.order import evaluation_batches

    model.eval()
    hidden_states: HiddenStates = {}
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        for split, rows in splits.items():
            lengths = rows.with_format("numpy")["length"][:]
            hidden_states[split] = [None] * len(rows)
            for micro_batch in evaluation_batches(lengths, process=0, num_processes=1, batch_size=batch_size):
                inputs = collator(rows[micro_batch.rows]).inputs
                layers = model.run_encoder(**inputs, all_layers=True)
                for position, (row, mask) in enumerate(zip(micro_batch.rows, inputs["attention_mask"], strict=True)):
                    hidden_states[split][row] = [layer[position, : int(mask.sum())].clone() for layer in layers]
    return hidden_states


def train_head(trial: Trial, splits: Any, hidden_states: HiddenStates, encoder_config: Any) -> Any:
    """Train the head of a trial on hidden states, evaluate it after each epoch and at the end, and return it."""
    import torch

    from research.data.batches.order import evaluation_batches, global_batches
    from research.model.encoder_with_head import build_head

    def build_batch(split: str, rows: Any) -> tuple[Any, Any]:
        # Returns padded hidden states, of all layers or the last one, and the attention mask.
        layers = range(len(hidden_states[split][0])) if wants_all else (-1,)
        padded = tuple(
            torch.nn.utils.rnn.pad_sequence([hidden_states[split][row][layer] for row in rows], batch_first=True)
            for layer in layers
        )
        lengths = torch.tensor([len(hidden_states[split][row][-1]) for row in rows])
        mask = (torch.arange(padded[0].shape[1]) < lengths[:, None]).long()
        return (padded if wants_all else padded[0]), mask

    def evaluate(split: str) -> None:
        head.eval()
        lengths = getattr(splits, split).with_format("numpy")["length"][:]
        with torch.no_grad(), bf16:
            for micro_batch in evaluation_batches(
                lengths, process=0, num_processes=1, batch_size=config.evaluation_batch_size
            ):
                head(*build_batch(split, micro_batch.rows))  # only the time matters, so the logits are not used

    config = trial.config()
    bf16 = torch.autocast("cpu", dtype=torch.bfloat16)
    train_labels = torch.as_tensor(splits.train.with_format("numpy")["label"][:])
    train_lengths = splits.train.with_format("numpy")["length"][:]
    torch.manual_seed(config.seed)
    head = build_head(*_name_and_options(config.head), encoder_config, splits.task.num_labels)
    wants_all = head.wants == "all_hidden_states"
    optimizer = torch.optim.AdamW(head.parameters(), lr=config.head_lr or config.lr, fused=True)
    num_steps = int(config.epochs) * -(-len(splits.train) // config.batch_size)  # rounded up
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.head_lr or config.lr, total_steps=num_steps)
    for epoch in range(int(config.epochs)):
        head.train()
        for rows in global_batches(train_lengths, config.batch_size, config.seed, epoch):
            with bf16:
                logits = head(*build_batch("train", rows))
            torch.nn.functional.cross_entropy(logits.float(), train_labels[rows]).backward()
            torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        evaluate("validation")
    evaluate("test")
    return head


def main() -> None:
    """Measure everything and print the table, or measure one part in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder for the output of the study and the Trainer; must not exist")
    parser.add_argument("--rounds", type=int, default=1, help="number of repetitions (default: %(default)s)")
    parser.add_argument("--heads", nargs="+", help="heads to train with the Trainer (default: all)")
    parser.add_argument("--study", default=str(STUDY), help="study of heads (default: experiments/studies/heads.yaml)")
    parser.add_argument("--workers", default="1", help="trials of the study at a time, or auto (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="run the study's short version")
    parser.add_argument("--part", choices=["floor", "trainer"], help=argparse.SUPPRESS)
    parser.add_argument("--arm", help=argparse.SUPPRESS)
    options = parser.parse_args()
    study_flags = ["--study", options.study, *(["--quick"] if options.quick else [])]
    if options.part == "floor":
        print(json.dumps(time_floor(study_flags)))
        return
    if options.part == "trainer":
        train_with_trainer(options.folder, study_flags, options.arm)
        return
    options.folder.mkdir(parents=True)
    arms = [trial.arm for trial in first_trials(study_flags)]
    num_seeds = _num_seeds(study_flags)
    rounds = []
    for number in range(options.rounds):
        folder = options.folder / f"round-{number}"
        folder.mkdir()
        midway_seconds = time_study(folder, [*study_flags, "--workers", options.workers])
        part_seconds = {"midway": midway_seconds, "floor": _run_part(folder, "floor", study_flags)}
        trainer_arms = options.heads or arms
        part_seconds["trainer"] = {arm: _time_trainer(folder, study_flags, arm) for arm in trainer_arms}
        rounds.append(part_seconds)
        print(json.dumps(part_seconds), flush=True)
    print(format_report(rounds, arms, num_seeds))
    has_short_version = "quick" in yaml.safe_load(Path(options.study).read_text(encoding="utf-8"))
    study_flags = ["--study", options.study, *(["--quick"] if has_short_version else [])]
    print(compare_with_single_runs(options.folder / "equality", study_flags))


def format_report(rounds: list[dict[str, dict[str, float]]], arms: list[str], num_seeds: int) -> str:
    """Return a table of medians over rounds, and the medians of the ratios of total times within each round."""
    lines = ["| head | Trainer, one trial, s | floor, one trial, s |", "|---|---|---|"]
    trainer_rounds = [complete_trainer_seconds(part_seconds, arms) for part_seconds in rounds]
    for arm in arms:
        note = "" if arm in rounds[0]["trainer"] else " (estimated)"
        trainer_median = statistics.median(seconds[arm] for seconds in trainer_rounds)
        floor_median = statistics.median(part_seconds["floor"][arm] for part_seconds in rounds)
        lines.append(f"| {arm} | {trainer_median:.1f}{note} | {floor_median:.1f} |")
    totals = []
    for part_seconds, seconds in zip(rounds, trainer_rounds, strict=True):
        trainer_total = num_seeds * sum(seconds.values())
        encoder_seconds = part_seconds["floor"]["encoder"]
        floor_total = encoder_seconds + num_seeds * sum(part_seconds["floor"][arm] for arm in arms)
        totals.append((part_seconds["midway"]["all"], trainer_total, floor_total, encoder_seconds))
    midway_all, trainer_all, floor_all, encoder_all = (
        statistics.median(column) for column in zip(*totals, strict=True)
    )
    lines += [
        "",
        f"All {len(arms) * num_seeds} trials: Midway {midway_all:.0f} s, Trainer {trainer_all:.0f} s (each head's one "
        f"trial times {num_seeds} seeds), floor {floor_all:.0f} s ({encoder_all:.0f} s of it for the encoder).",
        f"Trainer / Midway {statistics.median(trainer / midway for midway, trainer, _, _ in totals):.1f}, "
        f"Midway / floor {statistics.median(midway / floor for midway, _, floor, _ in totals):.2f}.",
    ]
    return "\n".join(lines)


def complete_trainer_seconds(part_seconds: dict[str, dict[str, float]], arms: list[str]) -> dict[str, float]:
    """Return the Trainer's seconds for one trial of each head in a round, estimated for heads that it did not train."""
    overhead = statistics.fmean(
        seconds - part_seconds["floor"][arm] for arm, seconds in part_seconds["trainer"].items()
    )
    return {arm: part_seconds["trainer"].get(arm, overhead + part_seconds["floor"][arm]) for arm in arms}


def _run_part(folder: Path, part: str, study_flags: list[str], arm: str | None = None) -> dict[str, float]:
    command = [sys.executable, __file__, str(folder), "--part", part, *study_flags]
    command += [] if arm is None else ["--arm", arm]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    seconds: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return seconds


def _time_trainer(folder: Path, study_flags: list[str], arm: str) -> float:
    started = time.perf_counter()
    _run_part(folder, "trainer", study_flags, arm)
    return time.perf_counter() - started


def _num_seeds(study_flags: list[str]) -> int:
    from research.studies.command import StudyCommand, parse_study

    command = parse_study(study_flags)
    assert isinstance(command, StudyCommand)
    return len(command.spec.grid["seed"])


def _loader_by_length(rows: Any, batch_size: int, collate: Any) -> Any:
    import torch

    from research.data.batches.order import evaluation_batches

    lengths = rows.with_format("numpy")["length"][:]
    micro_batches = evaluation_batches(lengths, process=0, num_processes=1, batch_size=batch_size)
    batches = [micro_batch.rows.tolist() for micro_batch in micro_batches]
    return torch.utils.data.DataLoader(rows, batch_sampler=batches, collate_fn=collate)


def _name_and_options(head: Any) -> tuple[str, dict[str, Any]]:
    from research.model.encoder_with_head import resolve_head_options
    from research.settings.config import Choice

    choice = Choice.of(head, "head")
    return choice.name, resolve_head_options(choice.name, choice.options)


if __name__ == "__main__":
    main()
