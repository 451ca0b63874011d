"""Compare the throughput of predict.py with a bare loop and with Transformers' pipeline, and measure its peak memory.

    python experiments/benchmarks/predict.py --rounds 3
    python experiments/benchmarks/predict.py --memory

All arms predict the same rows with the same encoder and a linear head: packaged reviews and sentences from reviews, in
random order, so that lengths are mixed. Arms run one after the other, each in a new process. The time of predict.py
includes reading, counting, tokenizing and writing; it is the time for all rows minus the time for one row, which is
mostly loading. The bare loop only runs the model on the same batches, which are made in advance. The pipeline runs once
for every batch size, with float32 and with bfloat16 weights; the ratios compare with its best batch size.

`--memory` predicts 25,000 and 1,000,000 short rows with a tiny encoder.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

ENCODER = "minilm"
MAX_LENGTH = 512
PIPELINE_BATCH_SIZES = (1, 8, 32, 64)
MEMORY_ROWS = (25_000, 1_000_000)
WORDS = ("the", "film", "plot", "scene", "actor", "story", "score", "camera", "joke", "ending", "good", "bad", "dull")
RATIOS = [("predict", "bare", 0.95), ("predict", "pipeline, float32", 3.0), ("predict", "pipeline, bfloat16", 0.0)]
"""Pairs of arms, with the smallest acceptable ratio of the first arm's speed to the second arm's; 0 stands for none."""


def measure_predict(folder: Path) -> float:
    """Return the rows per second of `predict`."""
    from research import PredictSettings, predict

    def measure_seconds(name: str) -> float:
        started = time.perf_counter()
        predict(
            PredictSettings(
                run=str(folder / "run"), data=str(folder / name), output=str(folder / "out.parquet"), overwrite=True
            )
        )
        return time.perf_counter() - started

    measure_seconds("one.csv")  # imports and warm-up
    return count_rows(folder) / (measure_seconds("rows.csv") - measure_seconds("one.csv"))


def measure_bare_loop(folder: Path) -> float:
    """Return the rows per second of the forward pass alone, on the batches of `predict`."""
    import torch

    from research import RunConfig, load_model
    from research.inference.predict import CHUNK_ROWS
    from research.inference.scorer import Scorer
    from research.training.accelerator import create_accelerator

    accelerator = create_accelerator(RunConfig(log_with=[]), str(folder))
    saved = load_model(folder / "run")
    scorer = Scorer(saved, device=accelerator.device, precision=accelerator.mixed_precision)
    texts = read_texts(folder)
    batches = []
    for start in range(0, len(texts), CHUNK_ROWS):
        columns = scorer.tokenize([[text] for text in texts[start : start + CHUNK_ROWS]])
        batches += [scorer.collate(columns, indices) for indices in scorer.split(columns)]
    with torch.inference_mode(), scorer.autocast():
        saved.model(**batches[0].to(scorer.device).inputs)  # warm-up
        started = time.perf_counter()
        for batch in batches:
            logits = saved.model(**batch.to(scorer.device).inputs).logits
        logits.cpu()  # waits for a GPU
    return len(texts) / (time.perf_counter() - started)


def measure_pipeline(folder: Path, batch_size: int, dtype: str) -> float:
    """Return the rows per second of Transformers' pipeline."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

    from research.model.encoders import ENCODERS

    model = AutoModelForSequenceClassification.from_pretrained(ENCODERS[ENCODER](), dtype=getattr(torch, dtype))
    tokenizer = AutoTokenizer.from_pretrained(ENCODERS[ENCODER]())
    classify = pipeline("text-classification", model=model, tokenizer=tokenizer, top_k=None)
    texts = read_texts(folder)
    options: dict[str, Any] = {"batch_size": batch_size, "truncation": True, "max_length": MAX_LENGTH}
    classify(texts[:1], **options)  # warm-up
    started = time.perf_counter()
    with (folder / "out.jsonl").open("w") as file:
        for scores in classify(texts, **options):
            file.write(json.dumps(scores) + "\n")
    return len(texts) / (time.perf_counter() - started)


ARMS: dict[str, Callable[[Path], float]] = {
    "predict": measure_predict,
    "bare": measure_bare_loop,
    **{
        f"pipeline, {dtype}, batch size {size}": partial(measure_pipeline, batch_size=size, dtype=dtype)
        for dtype in ("float32", "bfloat16")
        for size in PIPELINE_BATCH_SIZES
    },
}
"""Functions that return rows per second, by the name of the arm."""


def read_texts(folder: Path) -> list[str]:
    """Return the texts of all rows."""
    with (folder / "rows.csv").open(encoding="utf-8", newline="") as file:
        return [row["text"] for row in csv.DictReader(file)]


def count_rows(folder: Path) -> int:
    """Return the number of rows."""
    return len(read_texts(folder))


def write_texts(path: Path, texts: list[str]) -> None:
    """Write a csv file with a column `text`."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["text"], *([text] for text in texts)])


def prepare(folder: Path, num_rows: int) -> None:
    """Train a model for one step, and write the rows."""
    import numpy as np

    from research import RunConfig, run_experiment
    from research.data.prepare.load import load_splits
    from research.settings.config import DataSettings

    run_experiment(
        RunConfig(
            encoder=ENCODER,
            head="linear",
            data="imdb",
            limit_train=64,
            limit_validation=32,
            limit_test=32,
            max_steps=1,
            max_length=MAX_LENGTH,
            log_with=[],
            report=False,
            output_dir=str(folder / "run"),
        )
    )
    texts: list[str] = []
    for data, share in (("imdb", num_rows // 2), ("rotten_tomatoes", num_rows - num_rows // 2)):
        texts += load_splits(DataSettings(data=data, limit_train=share)).train["text"][:share]
    order = np.random.default_rng(0).permutation(len(texts))
    write_texts(folder / "rows.csv", [texts[index] for index in order])
    write_texts(folder / "one.csv", ["a film"])


def run_arm(arm: str, folder: Path) -> float:
    """Measure an arm in a new process; return its rows per second."""
    command = [sys.executable, __file__, "--arm", arm, "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{arm} failed:\n{done.stderr[-4000:]}")
    return float(json.loads(done.stdout.splitlines()[-1])["rows_per_second"])


def format_tables(measured: dict[str, list[float]]) -> str:
    """Return a table of the speed of each arm, and a table of the ratios of two arms' speeds in the same round."""
    lines = ["| arm | rows/s (median) | all rounds |", "|---|---|---|"]
    for arm, speeds in measured.items():
        lines.append(f"| {arm} | {statistics.median(speeds):.1f} | {', '.join(f'{speed:.1f}' for speed in speeds)} |")
    lines += ["", "| first / second arm | ratio (median) | min - max | target |", "|---|---|---|---|"]
    for first, second, target in RATIOS:
        candidates = [arm for arm in measured if arm.startswith(second)]
        if first not in measured or not candidates:
            continue
        best = max(candidates, key=lambda arm: statistics.median(measured[arm]))
        ratios = [one / other for one, other in zip(measured[first], measured[best], strict=True)]
        spread = f"{min(ratios):.3f} - {max(ratios):.3f}"
        lines.append(f"| {first} / {best} | {statistics.median(ratios):.3f} | {spread} | {target or 'none'} |")
    return "\n".join(lines)


def measure_memory(folder: Path, rows: list[int]) -> None:
    """Predict files of different numbers of short rows with a tiny encoder, and print a table of the peak memory."""
    import numpy as np
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    from research import RunConfig, run_experiment
    from research.model.encoders import ENCODERS

    tokenizer = AutoTokenizer.from_pretrained(ENCODERS[ENCODER]())
    tokenizer.save_pretrained(folder / "tiny")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=1, intermediate_size=16
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder / "tiny")
    data: dict[str, Any] = {"data": "rotten_tomatoes", "limit_train": 64, "limit_validation": 32, "limit_test": 32}
    options: dict[str, Any] = {
        "max_steps": 1,
        "max_length": 32,
        "log_with": [],
        "report": False,
        "output_dir": str(folder / "run"),
    }
    run_experiment(RunConfig(encoder=str(folder / "tiny"), **data, **options))
    lines = ["| rows | peak memory, MiB | rows/s |", "|---|---|---|"]
    peaks = []
    for num_rows in rows:
        generator = np.random.default_rng(0)
        with (folder / "rows.csv").open("w", encoding="utf-8") as file:
            file.write("id,text\n")
            for row in range(num_rows):
                file.write(f"{row},{' '.join(generator.choice(WORDS, size=generator.integers(1, 12)))}\n")
        command = [sys.executable, str(Path(__file__).parents[1] / "predict.py"), str(folder / "run")]
        command += ["--data", str(folder / "rows.csv"), "--output", str(folder / "out.csv"), "--keep_columns", "id"]
        started = time.perf_counter()
        process = subprocess.Popen([*command, "--num_threads", "1", "--overwrite"], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        if status != 0:
            sys.exit(f"predict.py failed with status {status}")
        peaks.append(usage.ru_maxrss / 1024)
        lines.append(f"| {num_rows:,} | {peaks[-1]:,.0f} | {num_rows / (time.perf_counter() - started):,.0f} |")
    print("\n".join(lines))
    print(f"\nratio of the last to the first: {peaks[-1] / peaks[0]:.3f} (target: at most 1.1)")


def main() -> None:
    """Measure all arms in turn, or the memory, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="number of runs of every arm (default: 3)")
    parser.add_argument("--rows", type=int, default=1024, help="rows to predict (default: 1024)")
    parser.add_argument(
        "--arms", nargs="+", choices=list(ARMS), default=list(ARMS), help="arms to measure (default: all)"
    )
    parser.add_argument("--memory", action="store_true", help="measure the memory instead")
    parser.add_argument(
        "--memory_rows", type=int, nargs="+", default=list(MEMORY_ROWS), help="rows of each file for --memory"
    )
    parser.add_argument("--arm", choices=list(ARMS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm:
        print("\n" + json.dumps({"rows_per_second": ARMS[options.arm](options.folder)}))
        return
    import torch

    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.processor() or platform.machine()}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.memory:
            measure_memory(folder, options.memory_rows)
            return
        prepare(folder, options.rows)
        measured: dict[str, list[float]] = {arm: [] for arm in options.arms}
        for number in range(options.rounds):
            for arm in options.arms:
                measured[arm].append(run_arm(arm, folder))
                print(f"round {number + 1}: {arm}: {measured[arm][-1]:.1f} rows/s", flush=True)
    print("\n" + format_tables(measured))


if __name__ == "__main__":
    main()
