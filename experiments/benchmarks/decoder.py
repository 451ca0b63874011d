"""Fine-tune a decoder language model with LoRA and the head `last`, and check padding sides, edits and resume.

    python experiments/benchmarks/decoder.py runs/decoder --encoder FOLDER

The encoder is a folder with a decoder and its tokenizer, or a GGUF file, which is first converted (this needs the
package gguf). Every run trains on the same short movie reviews, in a new process:

- `right` and `left`: LoRA in all linear layers, with padding on either side. The scores should be equal but for
  rounding, since the precision is float32.
- `edits`: the encoder is frozen at first; adapters are added after a fifth of the steps and merged after four fifths.
- `right, resumed` and `edits, resumed`: the same runs, continued from the checkpoint in their middle. The weights
  should have the same bits.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

NUM_EVALUATED_ROWS = {"validation": 32, "test": 100}
BATCH_SIZE = 16
LORA = {"peft": {"name": "lora", "r": 8}}
EDITS = {
    "timeline": [
        {"at": "0%", "freeze": "encoder"},
        {"at": "20%", "add_lora": {"r": 8}},
        {"at": "80%", "merge_adapters": True},
    ]
}
ARMS: dict[str, dict[str, Any]] = {"right": LORA, "left": LORA, "edits": EDITS}


def main() -> None:
    """Run all arms, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--encoder", type=Path, required=True, help="folder with a decoder, or a GGUF file")
    parser.add_argument("--steps", type=int, default=30, help="steps of 16 reviews (default: %(default)s)")
    parser.add_argument("--measure", nargs=2, metavar=("ARM", "CHECKPOINT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    if arguments.measure is not None:
        arm, checkpoint = arguments.measure
        print(json.dumps(measure(folder, arm, checkpoint or None, arguments.steps)))
        return
    if not (folder / "data").exists():
        write_data(folder / "data", arguments.steps * BATCH_SIZE)
    save_encoders(arguments.encoder, folder)
    results: dict[str, dict[str, Any]] = {}
    for arm in ARMS:
        results[arm] = launch(folder, arm, "", arguments.steps)
        if arm != "left":
            checkpoint = folder / arm / "checkpoints" / f"step-{arguments.steps // 2:08d}"
            results[f"{arm}, resumed"] = launch(folder, arm, str(checkpoint), arguments.steps)
    print_table(folder, results)


def write_data(folder: Path, num_rows_train: int) -> None:
    """Write short reviews as csv files."""
    from research import RunConfig
    from research.data.prepare.load import load_splits

    source = load_splits(RunConfig(data="rotten_tomatoes"))
    names = source.task.label_names
    folder.mkdir(parents=True)
    for split, num_rows in {"train": num_rows_train, **NUM_EVALUATED_ROWS}.items():
        rows = getattr(source, split).shuffle(seed=0).select(range(num_rows))
        with (folder / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label"])
            writer.writerows([row["text"], names[row["label"]]] for row in rows)


def save_encoders(source: Path, folder: Path) -> None:
    """Save the encoder twice, with a tokenizer that pads on the right and one that pads on the left."""
    from transformers import AutoModel, AutoTokenizer

    if (folder / "encoder-left").exists():
        return
    is_file = source.is_file()
    where = {"gguf_file": source.name} if is_file else {}
    parent = source.parent if is_file else source
    encoder = AutoModel.from_pretrained(parent, dtype="float32", **where)
    if is_file:  # Transformers refuses to save a model that was loaded from such a file
        del encoder.config.quantization_config
        values = encoder.state_dict()
        encoder = AutoModel.from_config(encoder.config)
        encoder.load_state_dict(values)
    for side in ("right", "left"):
        encoder.save_pretrained(folder / f"encoder-{side}")
        tokenizer = AutoTokenizer.from_pretrained(parent, padding_side=side, **where)
        tokenizer.save_pretrained(folder / f"encoder-{side}")


def launch(folder: Path, arm: str, checkpoint: str, num_steps: int) -> dict[str, Any]:
    """Train in a new process, unless an earlier call did so, and return what `measure` returns."""
    finished = folder / f"{arm}{'-resumed' if checkpoint else ''}.json"
    if finished.exists():
        earlier: dict[str, Any] = json.loads(finished.read_text(encoding="utf-8"))
        return earlier
    command = [sys.executable, __file__, str(folder), "--encoder", "", "--measure", arm, checkpoint]
    command += ["--steps", str(num_steps)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    finished.write_text(json.dumps(result), encoding="utf-8")
    return result


def measure(folder: Path, arm: str, checkpoint: str | None, num_steps: int) -> dict[str, Any]:
    """Train an arm, or continue it from a checkpoint."""
    from research import RunConfig, run_experiment
    from research.model.encoders import load_tokenizer

    side = "left" if arm == "left" else "right"
    assert load_tokenizer(str(folder / f"encoder-{side}")).padding_side == side
    output = folder / (arm if checkpoint is None else f"{arm}-resumed")
    if output.exists():
        shutil.rmtree(output)
    config = RunConfig(
        data=str(folder / "data"),
        encoder=str(folder / f"encoder-{side}"),
        max_length=64,
        batch_size=BATCH_SIZE,
        lr=5e-4,
        save_every=f"{num_steps // 2}st",
        mixed_precision="no",
        report=False,
        log_with=[],
        resume=checkpoint,
        output_dir=str(output),
        **ARMS[arm],
    )
    started = time.monotonic()
    result = run_experiment(config)
    return {
        "seconds": time.monotonic() - started,
        "accuracy": result["metrics"]["test"]["accuracy"],
        "loss": result["metrics"]["test"]["loss"],
        "peak_memory_mib": result["peak_memory_bytes"] / 2**20,
        "weights": result["weights_sha256"],
    }


def print_table(folder: Path, results: dict[str, dict[str, Any]]) -> None:
    """Print the results of all arms, and how far the scores of the two padding sides are apart."""
    print("| run | test accuracy | test loss | seconds | peak memory, MiB | weights |")
    print("|---|---|---|---|---|---|")
    for arm, result in results.items():
        first, _, resumed = arm.partition(", ")
        weights = "equal bits" if result["weights"] == results[first]["weights"] else "different"
        print(
            f"| {arm} | {result['accuracy']:.3f} | {result['loss']:.4f} | {result['seconds']:.0f} | "
            f"{result['peak_memory_mib']:,.0f} | {weights if resumed else ''} |"
        )
    scores = [read_scores(folder / side) for side in ("right", "left")]
    difference = max(abs(first - second) for first, second in zip(*scores, strict=True))
    print(f"\nLargest difference between the scores of the two padding sides: {difference:.1e}")


def read_scores(directory: Path) -> list[float]:
    """Return the scores of the first label for the test rows, in the order of the rows."""
    import pyarrow.parquet as pq

    table = pq.read_table(directory / "predictions" / "test.parquet").sort_by("id")
    name = next(name for name in table.column_names if name.startswith("score_"))
    scores: list[float] = table.column(name).to_pylist()
    return scores


if __name__ == "__main__":
    main()
