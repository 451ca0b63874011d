"""Measure the cost of edits: the time that applying an edit takes between two steps, and the time of a training step.

    python experiments/benchmarks/edit_cost.py --rounds 3

The script trains MiniLM on reviews of at least 512 tokens, on one CPU process and on two, with an edit after every
step except the first and the last. It reports these times, as medians over rounds:

- the time of a training step
- for each edit, the time of everything that happens between two steps because of it (agreement of the processes, the
  edit, wrapping the model again, audit, journal)
- the time of the four checks of the audit that need no communication (the longest over all edits)
- the time for computing the checksums that the audit compares between processes, without exchanging them (the longest
  over all edits)
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

MAX_LENGTH = 512
EDITS: dict[str, dict[str, Any]] = {
    "set_lr": {"lr": 1e-4},
    "set_dropout": {"p": 0.2},
    "freeze": {"modules": "encoder.layer[:3]"},
    "unfreeze": {"modules": "encoder.layer[:3]"},
    "replace_head": {"head": "lstm"},
    "reinitialize": {"modules": "encoder.layer[-1]"},
    "add_lora": {"r": 8},
    "merge_lora": {},
    "drop_layers": {"modules": "encoder.layer[-1]"},
}
"""The edits with their arguments. They are applied in this order, one after each step from the second on."""
Times = dict[str, float]
"""Seconds of a step, of each edit, and of each part of the audit."""


def measure_in_this_process(folder: Path, batch_size: int, **settings: Any) -> Times:
    """Train in this process, together with the processes launched with it if any, and return the times.

    Args:
        folder: folder with the training file.
        batch_size: rows per step.
        **settings: settings of the run that differ from those below.
    """
    from research import Hook, RunConfig, run_experiment
    from research.system.checksums import checksum
    from research.training import audit
    from research.training.api import Run
    from research.training.run import TrainingRun
    from throughput import wait_for_device

    class Stopwatch(Hook):
        """Request the next edit, and measure the time until it is applied."""

        def __init__(self) -> None:
            self.remaining_edits = list(EDITS)
            self.seconds: Times = {}
            self.step_seconds: list[float] = []
            self.requested_at = 0.0

        def after_step(self, run: Run) -> None:
            assert run.last_step is not None
            self.step_seconds.append(run.last_step.seconds)
            if self.remaining_edits and run.clock.step > 1:  # the first step warms up
                getattr(run.edit, self.remaining_edits[0])(**EDITS[self.remaining_edits[0]])
                run.accelerator.wait_for_everyone()
                wait_for_device(run.accelerator.device.type)
                self.requested_at = time.perf_counter()

        def after_edits(self, run: Run) -> None:
            wait_for_device(run.accelerator.device.type)
            self.seconds[self.remaining_edits.pop(0)] = time.perf_counter() - self.requested_at
            assert isinstance(run, TrainingRun)
            model, wrapping = run.encoder_with_head, run.wrapping

            def check_without_checksums() -> None:
                audit.check_optimizer(model, run.optimizer)
                wrapping.check(run.optimizer)
                audit.check_rates(run.optimizer, run.schedule)
                audit.check_compiled(wrapping)

            def compute_checksums() -> None:
                for parameter in model.parameters():
                    checksum(parameter)

            checks = {"audit without checksum": check_without_checksums, "checksum": compute_checksums}
            for name, check in checks.items():
                started = time.perf_counter()
                check()
                wait_for_device(run.accelerator.device.type)
                self.seconds[name] = max(self.seconds.get(name, 0.0), time.perf_counter() - started)

    stopwatch = Stopwatch()
    defaults: dict[str, Any] = {
        "data": str(folder),
        "encoder": "minilm",
        "batch_size": batch_size,
        "micro_batch_size": batch_size,
        "max_length": MAX_LENGTH,
        "max_steps": len(EDITS) + 2,
        "evaluate_every": None,
        "log_with": [],
        "overwrite": True,
        "output_dir": str(folder.with_name("run")),
    }
    run_experiment(RunConfig(**{**defaults, **settings}), hooks=[stopwatch])
    # Without the first step, which warms up, and the last step, which has fewer layers than the steps before it.
    return {"step": statistics.median(stopwatch.step_seconds[1:-1]), **stopwatch.seconds}


def measure(folder: Path, num_processes: int, batch_size: int, shard: Literal["fsdp2"] | None) -> Times:
    """Measure in newly launched processes, and return the times of the main process."""
    config = "cpu.yaml" if num_processes == 1 else f"cpu_{num_processes}_processes.yaml"
    configs = Path(__file__).parents[2] / "accelerate_configs"
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(configs / config), __file__]
    command += ["--folder", str(folder), "--batch_size", str(batch_size)]
    command += ["--shard", shard] if shard else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{num_processes} processes failed:\n{done.stderr[-4000:]}")
    times: Times = json.loads(next(line for line in done.stdout.splitlines() if line.startswith('{"step"')))
    return times


def write_rows(folder: Path, num_rows: int) -> None:
    """Write real reviews of at least MAX_LENGTH words as training rows, and a few short ones for evaluation."""
    from research.data.prepare.load import load_splits
    from research.settings.config import DataSettings
    from research.system.messages import messages_muted

    with messages_muted():
        splits = load_splits(DataSettings(data="imdb"))
    folder.mkdir()

    def balanced_sample(rows: list[Any], num_rows: int) -> list[Any]:
        by_label = [[row for row in rows if row["label"] == label] for label in (0, 1)]
        return [row for rows_of_label in by_label for row in rows_of_label[: num_rows // 2]]

    long_reviews = balanced_sample([row for row in splits.train if len(row["text"].split()) >= MAX_LENGTH], num_rows)
    short_reviews = balanced_sample([row for row in splits.test if len(row["text"].split()) <= 60], 8)
    for name, rows in (("train", long_reviews), ("validation", short_reviews), ("test", short_reviews)):
        lines = [json.dumps({"text": row["text"], "label": "pos" if row["label"] else "neg"}) for row in rows]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def format_table(measured: dict[int, list[Times]]) -> str:
    """Return the table: the median over rounds of each time, in milliseconds and as a share of a step."""
    columns = "".join(f" {number} process{'es' * (number > 1)} | share of a step |" for number in measured)
    lines = [f"| milliseconds |{columns}", "|---|" + "---|---|" * len(measured)]
    for name in next(iter(measured.values()))[0]:
        cells = []
        for rounds in measured.values():
            seconds = statistics.median(times[name] for times in rounds)
            share = statistics.median(times[name] / times["step"] for times in rounds)
            cells.append(f"{1000 * seconds:.1f} | {share:.3f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure with one and two processes alternately, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="number of repetitions (default: 3)")
    parser.add_argument("--batch_size", type=int, default=32, help="rows per step (default: 32)")
    parser.add_argument("--shard", choices=["fsdp2"], help="split the model over the processes")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder:
        print(json.dumps(measure_in_this_process(options.folder, options.batch_size, shard=options.shard)))
        return
    measured: dict[int, list[Times]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "rows"
        write_rows(folder, 2 * options.batch_size)
        for number in range(options.rounds):
            for num_processes, rounds in measured.items():
                rounds.append(measure(folder, num_processes, options.batch_size, options.shard))
                print(f"round {number + 1}, {num_processes} processes: step {rounds[-1]['step']:.2f} s", flush=True)
    print("\n" + format_table(measured))


if __name__ == "__main__":
    main()
