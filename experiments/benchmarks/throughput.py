"""Compare Midway's training throughput with a bare loop, Transformers' Trainer and Lightning.

    python experiments/benchmarks/throughput.py --rounds 3

Every arm trains the same encoder with a linear head for one epoch over the same rows, with the same batch size. Arms
run one after the other, each in new processes. The script reports medians over rounds, ratios within the same round,
and peak memory.

The two arms with two processes (CPU, gloo) show the cost of the communication by which processes agree on edits, stops
and signals between steps:

    python experiments/benchmarks/throughput.py --arms "bare, 2 processes" "midway, 2 processes"

Two more arms split the model over the processes; the first is a loop written by hand with PyTorch's fully_shard:

    python experiments/benchmarks/throughput.py --arms "bare fully_shard, 2 processes" "midway --shard, 2 processes"
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

ENCODER = "minilm"
MAX_LENGTH = 512
PEAK_RATE = 1e-4
CONFIGS = Path(__file__).parents[2] / "accelerate_configs"
Measurement = tuple[float, int]
"""Seconds from the first measured step to the last, and number of their rows, which are called examples in speeds."""


@dataclass(frozen=True)
class Setup:
    """What all arms of a comparison have in common."""

    encoder: str = ENCODER
    """Name or folder of the encoder."""
    max_length: int = MAX_LENGTH
    """Maximum length of an input in tokens."""
    device: str = "cpu"
    """Type of the device: cpu or cuda."""
    compile_backend: str | None = None
    """Backend of torch.compile; None does not compile the model."""
    attention: str | None = None
    """Implementation of attention; None lets Transformers choose."""
    num_warmup_steps: int = 0
    """Number of steps before the measurement starts."""


DEFAULT = Setup()


class Timer:
    """Measures the time from the end of the last warm-up step to the end of the last step.

    Args:
        setup: gives the device and the number of warm-up steps.
        num_rows: number of rows in all steps.
        batch_size: rows per step.
    """

    def __init__(self, setup: Setup, num_rows: int, batch_size: int) -> None:
        self._setup = setup
        self._num_measured_rows = num_rows - setup.num_warmup_steps * batch_size
        self._num_steps = 0
        self._started = self._stopped = 0.0

    def start(self) -> None:
        """Start before the first step."""
        self._started = self._read()

    def count_step(self, *, is_last: bool = True) -> None:
        """Record the end of a step.

        Args:
            is_last: whether to wait for the device, which is only necessary after the last step.
        """
        self._num_steps += 1
        if self._num_steps == self._setup.num_warmup_steps:
            self._started = self._read()
        elif is_last:
            self._stopped = self._read()

    def result(self) -> Measurement:
        """Return the seconds of the measured steps, and the number of their rows."""
        return self._stopped - self._started, self._num_measured_rows

    def _read(self) -> float:
        wait_for_device(self._setup.device)
        return time.perf_counter()


def wait_for_device(device: str) -> None:
    """Wait until a GPU has computed everything that was started on it."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


def train_in_bare_loop(
    folder: Path,
    batch_size: int,
    *,
    precision: str = "bf16",
    attention_dropout: float = 0.0,
    setup: Setup = DEFAULT,
    shard: bool = False,
) -> Measurement:
    """Train with a loop written by hand on Midway's batches; use DDP or fully_shard if there are several processes.

    Args:
        folder: folder with the training file.
        batch_size: rows per step.
        precision: bf16 computes in autocast; float32 does not.
        attention_dropout: dropout probability of attention weights.
        setup: what all arms have in common.
        shard: whether to use fully_shard.
    """
    import torch

    from research.data.batches.order import global_batches, split_batch
    from research.system.launcher import num_launched_processes

    splits, collator, model, _ = load_parts(folder, attention_dropout, setup)
    model.to(setup.device)
    if setup.compile_backend is not None:
        # With fully_shard, each layer: the code between them gathers parameters.
        for module in model.encoder.encoder.layer if shard else [model]:
            module.compile(backend=setup.compile_backend)
    rank, num_processes = int(os.environ.get("RANK", "0")), num_launched_processes()
    if num_processes > 1:
        torch.set_num_threads(max(1, torch.get_num_threads() // num_processes))
        torch.distributed.init_process_group("gloo")
    if shard:
        _shard(model, precision)
    elif num_processes > 1:
        model = torch.nn.parallel.DistributedDataParallel(model, gradient_as_bucket_view=True)
    lengths = splits.train.with_format("numpy")["length"][:]
    batches = global_batches(lengths, batch_size, seed=0, epoch=0)
    # There is no fused AdamW for split parameters on a CPU.
    is_fused = not shard or setup.device == "cuda"
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, weight_decay=0.01, fused=is_fused)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=len(batches))
    model.train()
    timer = Timer(setup, len(splits.train), batch_size)
    timer.start()
    for rows in batches:
        (micro_batch,) = split_batch(rows, rank, num_processes, batch_size)
        batch = collator(splits.train[micro_batch.rows], micro_batch.weights).to(torch.device(setup.device))
        with torch.autocast(setup.device, dtype=torch.bfloat16) if precision == "bf16" else nullcontext():
            logits = model(**batch.inputs).logits
        losses = torch.nn.functional.cross_entropy(logits.float(), batch.labels, reduction="none")
        loss = (losses * batch.weights).sum() * num_processes / len(rows)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        loss.item()  # a progress bar would read the loss, too
        timer.count_step()
    if num_processes > 1:
        torch.distributed.destroy_process_group()
    return timer.result()


def _shard(model: Any, precision: str) -> None:
    """Split a model over the processes with PyTorch's fully_shard, layer by layer."""
    import torch
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if precision == "bf16" else None, reduce_dtype=torch.float32
    )
    for unit in (*model.encoder.encoder.layer, model.encoder.embeddings.word_embeddings, model.head, model):
        fully_shard(unit, mp_policy=policy)


def train_with_midway(
    folder: Path,
    batch_size: int,
    *,
    precision: str = "bf16",
    attention_dropout: float = 0.0,
    setup: Setup = DEFAULT,
    shard: bool = False,
) -> Measurement:
    """Train with Midway and its built-in hooks.

    Args:
        folder: folder with the training file.
        batch_size: rows per step.
        precision: value of --mixed_precision.
        attention_dropout: dropout probability of attention weights.
        setup: what all arms have in common.
        shard: whether to use --shard fsdp2.
    """
    from research.runner.experiment import run_experiment
    from research.settings.config import RunConfig
    from research.training.api import Run
    from research.training.hook import Hook

    class Stopwatch(Hook):
        """Measure the time up to the last step. It is the first hook, so the time does not include the evaluation."""

        def on_train_start(self, run: Run) -> None:
            timer.start()

        def after_step(self, run: Run) -> None:
            timer.count_step()

    timer = Timer(setup, sum(1 for _ in read_rows(folder)), batch_size)
    config = RunConfig(
        data=str(folder),
        encoder=setup.encoder,
        max_length=setup.max_length,
        batch_size=batch_size,
        micro_batch_size=batch_size,
        attention_dropout=attention_dropout,
        attn_implementation=setup.attention,  # type: ignore[arg-type]
        mixed_precision=precision,  # type: ignore[arg-type]
        compile=setup.compile_backend is not None,
        compile_backend=setup.compile_backend or "inductor",  # type: ignore[arg-type]
        evaluate_every=None,
        layer_decay=1.0,
        shard="fsdp2" if shard else None,
        output_dir=str(folder / f"run-{time.time_ns()}"),
    )
    run_experiment(config, hooks=[Stopwatch()])
    return timer.result()


def train_with_trainer_example(folder: Path, batch_size: int) -> Measurement:
    """Train with Transformers' Trainer, set up as in its text classification example: padded to the maximum, fp32."""
    return _train_with_trainer(folder, batch_size, padding="max_length", attention_dropout=0.1)


def train_with_tuned_trainer(folder: Path, batch_size: int, *, setup: Setup = DEFAULT) -> Measurement:
    """Train with Transformers' Trainer and all suitable options: dynamic padding, bf16, no attention dropout.

    The Trainer gets Midway's batches, which are grouped by length. Its own `group_by_length` groups only within at most
    a quarter of these few rows, and would therefore pad more than on a data set of realistic size.
    """
    return _train_with_trainer(
        folder,
        batch_size,
        padding=False,
        attention_dropout=0.0,
        setup=setup,
        bf16=True,
        train_sampling_strategy="sequential",
        optim="adamw_torch_fused",
        torch_compile_backend=setup.compile_backend,
    )


def _train_with_trainer(
    folder: Path, batch_size: int, *, padding: Any, attention_dropout: float, setup: Setup = DEFAULT, **options: Any
) -> Measurement:
    import numpy as np
    from transformers import DataCollatorWithPadding, Trainer, TrainerCallback, TrainingArguments, default_data_collator

    from research.data.batches.order import global_batches

    splits, _, model, tokenizer = load_parts(folder, attention_dropout, setup)
    rows = tokenize_all(folder, tokenizer, padding, setup.max_length)
    if options.get("train_sampling_strategy") == "sequential":
        lengths = splits.train.with_format("numpy")["length"][:]
        rows = rows.select(np.concatenate(global_batches(lengths, batch_size, seed=0, epoch=0)))

    class Stopwatch(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            timer.start()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            timer.count_step(is_last=state.global_step == state.max_steps)

    timer = Timer(setup, len(rows), batch_size)
    arguments = TrainingArguments(
        output_dir=str(folder / "trainer"),
        per_device_train_batch_size=batch_size,
        num_train_epochs=1,
        learning_rate=PEAK_RATE,
        weight_decay=0.01,
        report_to=[],
        save_strategy="no",
        use_cpu=setup.device == "cpu",
        disable_tqdm=True,
        **options,
    )
    collate = default_data_collator if padding == "max_length" else DataCollatorWithPadding(tokenizer)
    Trainer(model=model, args=arguments, train_dataset=rows, data_collator=collate, callbacks=[Stopwatch()]).train()
    return timer.result()


def train_with_lightning_example(folder: Path, batch_size: int) -> Measurement:
    """Train with Lightning, set up like the Trainer's example but with a one-cycle schedule."""
    import lightning
    import torch
    from transformers import default_data_collator

    _, _, model, tokenizer = load_parts(folder, attention_dropout=0.1)
    rows = tokenize_all(folder, tokenizer, "max_length")
    loader = torch.utils.data.DataLoader(rows, batch_size=batch_size, shuffle=True, collate_fn=default_data_collator)

    class Classifier(lightning.LightningModule):
        started = stopped = 0.0

        def __init__(self) -> None:
            super().__init__()
            self.model = model.train()  # from_pretrained sets evaluation mode, which Lightning keeps since 2.2

        def on_train_start(self) -> None:
            self.started = time.perf_counter()

        def training_step(self, batch: Any, batch_index: int) -> Any:
            loss = self.model(**batch).loss
            self.log("loss", loss, prog_bar=True)
            return loss

        def on_train_batch_end(self, *_: Any) -> None:
            self.stopped = time.perf_counter()

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.AdamW(self.parameters(), lr=PEAK_RATE)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=len(loader))
            return [optimizer], [{"scheduler": schedule, "interval": "step"}]

    classifier = Classifier()
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    trainer.fit(classifier, loader)
    return classifier.stopped - classifier.started, len(rows)


ARMS: dict[str, Callable[[Path, int], Measurement]] = {
    "bare": train_in_bare_loop,
    "midway": train_with_midway,
    "bare, 2 processes": train_in_bare_loop,
    "midway, 2 processes": train_with_midway,
    "bare fully_shard, 2 processes": partial(train_in_bare_loop, shard=True),
    "midway --shard, 2 processes": partial(train_with_midway, shard=True),
    "midway, attention dropout 0.1": partial(train_with_midway, attention_dropout=0.1),
    "trainer, tuned": train_with_tuned_trainer,
    "trainer, example": train_with_trainer_example,
    "lightning, example": train_with_lightning_example,
}
"""The functions that train, by name of the arm. Arms whose names end with "2 processes" run in two processes."""
RATIOS = [
    ("midway", "bare", 0.97),
    ("midway, 2 processes", "bare, 2 processes", 0.97),
    ("midway --shard, 2 processes", "bare fully_shard, 2 processes", 0.97),
    ("midway", "trainer, tuned", 1.0),
    ("midway, attention dropout 0.1", "trainer, example", 2.0),
    ("midway, attention dropout 0.1", "lightning, example", 2.0),
    ("midway", "trainer, example", 4.0),
    ("midway", "lightning, example", 4.0),
]
"""Pairs of arms, with the smallest acceptable ratio of the first arm's speed to the second arm's."""


def load_parts(folder: Path, attention_dropout: float, setup: Setup = DEFAULT) -> tuple[Any, Any, Any, Any]:
    """Return the parts for training, made with Midway: tokenized splits, collator, model and tokenizer."""
    import torch

    from research.data.batches.collate import Collator
    from research.data.batches.tokens import tokenize_splits
    from research.data.prepare.load import load_splits
    from research.model.build_model import build_model
    from research.model.encoders import load_tokenizer
    from research.settings.config import DataSettings, RunConfig
    from research.system.messages import messages_muted

    tokenizer = load_tokenizer(setup.encoder)
    with messages_muted():
        splits = tokenize_splits(load_splits(DataSettings(data=str(folder))), tokenizer)
    collator = Collator(tokenizer, splits.task, max_length=setup.max_length, truncation="head_tail", pair=False)
    torch.manual_seed(0)
    config = RunConfig(
        encoder=setup.encoder,
        head="linear",
        max_length=setup.max_length,
        dropout=0.1,
        attention_dropout=attention_dropout,
        attn_implementation=setup.attention,  # type: ignore[arg-type]
    )
    model = build_model(config, splits.task)
    return splits, collator, model, tokenizer


def read_rows(folder: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of the training file in a folder."""
    with (folder / "train.jsonl").open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def tokenize_all(folder: Path, tokenizer: Any, padding: Any, max_length: int = MAX_LENGTH) -> Any:
    """Return all training rows, tokenized in advance as in the frameworks' examples.

    Args:
        folder: folder with the training file.
        tokenizer: tokenizer of the encoder.
        padding: the tokenizer's option `padding`.
        max_length: maximum length of a row in tokens, to which it is truncated.
    """
    from datasets import Dataset

    rows = list(read_rows(folder))
    encoded = tokenizer([row["text"] for row in rows], truncation=True, max_length=max_length, padding=padding)
    return Dataset.from_dict({**encoded, "labels": [int(row["label"] == "pos") for row in rows]})


def write_rows(folder: Path, num_rows: int) -> None:
    """Write `num_rows` real reviews to the training file, and a few to the validation and test files."""
    from research.data.prepare.load import load_splits
    from research.settings.config import DataSettings
    from research.system.messages import messages_muted

    settings = DataSettings(data="imdb", limit_train=num_rows, limit_validation=8, limit_test=8)
    with messages_muted():
        splits = load_splits(settings)
    for name, split in splits.items():
        with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as file:
            for row in split:
                file.write(json.dumps({"text": row["text"], "label": "pos" if row["label"] else "neg"}) + "\n")


def measure(arm: str, folder: Path, batch_size: int) -> dict[str, float]:
    """Run an arm in new processes; return its examples per second and the main process's peak memory."""
    launcher = [sys.executable]
    if arm.endswith(", 2 processes"):
        launcher += ["-m", "accelerate.commands.launch", "--config_file", str(CONFIGS / "cpu_2_processes.yaml")]
    command = [*launcher, __file__, "--arm", arm, "--folder", str(folder), "--batch_size", str(batch_size)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{arm} failed:\n{done.stderr[-4000:]}")
    line = next(line for line in done.stdout.splitlines() if line.startswith('{"examples_per_second"'))
    result: dict[str, float] = json.loads(line)
    return result


def format_tables(measured: dict[str, list[dict[str, float]]]) -> str:
    """Return a table of the speed and memory of each arm, and a table of the ratios of two arms' speeds."""
    lines = ["| arm | examples/s (median) | all rounds | peak memory, MiB |", "|---|---|---|---|"]
    for arm, rounds in measured.items():
        speeds = [entry["examples_per_second"] for entry in rounds]
        memory = statistics.median(entry["peak_memory_bytes"] for entry in rounds) / 2**20
        listed = ", ".join(f"{speed:.2f}" for speed in speeds)
        lines.append(f"| {arm} | {statistics.median(speeds):.2f} | {listed} | {memory:.0f} |")
    lines += ["", "| first / second arm | ratio (median) | min - max | target |", "|---|---|---|---|"]
    for first, second, target in RATIOS:
        if first in measured and second in measured:
            ratios = [
                first_entry["examples_per_second"] / second_entry["examples_per_second"]
                for first_entry, second_entry in zip(measured[first], measured[second], strict=True)
            ]
            spread = f"{min(ratios):.3f} - {max(ratios):.3f}"
            lines.append(f"| {first} / {second} | {statistics.median(ratios):.3f} | {spread} | {target} |")
    return "\n".join(lines)


def main() -> None:
    """Measure all arms in turn, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="number of runs of every arm (default: 3)")
    parser.add_argument("--rows", type=int, default=256, help="training reviews (default: 256)")
    parser.add_argument("--batch_size", type=int, default=32, help="rows per step (default: 32)")
    parser.add_argument(
        "--arms", nargs="+", choices=list(ARMS), default=list(ARMS), help="arms to measure (default: all)"
    )
    parser.add_argument("--arm", choices=list(ARMS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm:
        seconds, num_examples = ARMS[options.arm](options.folder, options.batch_size)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if int(os.environ.get("RANK", "0")) > 0:
            return
        print("\n" + json.dumps({"examples_per_second": num_examples / seconds, "peak_memory_bytes": peak}))
        return
    import torch

    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.processor() or platform.machine()}")
    measured: dict[str, list[dict[str, float]]] = {arm: [] for arm in options.arms}
    with tempfile.TemporaryDirectory() as folder:
        write_rows(Path(folder), options.rows)
        for number in range(options.rounds):
            for arm in options.arms:
                measured[arm].append(measure(arm, Path(folder), options.batch_size))
                print(
                    f"round {number + 1}: {arm}: {measured[arm][-1]['examples_per_second']:.2f} examples/s", flush=True
                )
    print("\n" + format_tables(measured))


if __name__ == "__main__":
    main()
