"""Measure the peak memory of streamed training rows, which must not grow with the number of rows.

    python experiments/benchmarks/streaming_memory.py --rows 1000000 10000000

The script writes synthetic parquet shards, reads all batches of an epoch in a new process (read, check, shuffle,
tokenize and collate, without a model), and prints a table. Preparing the same rows is measured by memory.py.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

_WORDS = ("the", "film", "plot", "scene", "actor", "story", "score", "camera", "joke", "ending", "good", "bad", "dull")
_ROWS_PER_SHARD = 500_000
_ROWS_PER_GROUP = 10_000
_BATCH_SIZE = 32


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000], help="rows of each data set")
    parser.add_argument("--words", type=int, default=8, help="words per text (default: %(default)s)")
    parser.add_argument("--shuffle_buffer", type=int, default=20_000, help="rows in a buffer (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="folder for the data (default: a temporary folder)")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        print(json.dumps(measure(arguments.measure, arguments.shuffle_buffer)))
        return
    results = []
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        for num_rows in arguments.rows:
            data = Path(folder) / f"{num_rows}"
            # Written in a separate process, since the measured child process inherits the peak memory of this one.
            writer = multiprocessing.get_context("spawn").Process(
                target=write_shards, args=(data, num_rows, arguments.words)
            )
            writer.start()
            writer.join()
            command = [sys.executable, __file__, "--measure", str(data)]
            command += ["--shuffle_buffer", str(arguments.shuffle_buffer)]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            files = list(data.glob("train*.parquet"))
            results.append(json.loads(output.splitlines()[-1]) | {"bytes": sum(path.stat().st_size for path in files)})
            for path in data.rglob("*.*"):
                path.unlink()
    print_table(results)


def write_shards(folder: Path, num_rows: int, num_words: int) -> None:
    """Write random texts as parquet shards, and a few validation and test rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    words = np.array(_WORDS)
    num_shards = -(-num_rows // _ROWS_PER_SHARD)
    sizes = {f"train-{number:05d}-of-{num_shards:05d}": _ROWS_PER_SHARD for number in range(num_shards)}
    sizes |= {f"train-{num_shards - 1:05d}-of-{num_shards:05d}": num_rows - _ROWS_PER_SHARD * (num_shards - 1)}
    for name, size in {**sizes, "validation": 100, "test": 100}.items():
        chosen = words[generator.integers(len(words), size=(size, num_words))]
        columns = [pa.array(chosen[:, column]) for column in range(num_words)]
        texts = pa.compute.binary_join_element_wise(*columns, " ")
        table = pa.table({"text": texts, "label": generator.integers(2, size=size)})
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=_ROWS_PER_GROUP)


def measure(folder: Path, shuffle_buffer: int) -> dict[str, float]:
    """Read all batches of an epoch; return the numbers of rows and seconds, and the peak memory in MiB at some points.

    Args:
        folder: the data.
        shuffle_buffer: number of rows in a buffer.
    """
    from research.data.batches.collate import Collator
    from research.data.prepare.load import load_splits
    from research.data.streaming.train_stream import TrainStream
    from research.model.encoders import load_tokenizer
    from research.settings.config import DataSettings

    tokenizer = load_tokenizer("minilm")
    before = read_peak_memory()
    start = time.perf_counter()
    splits = load_splits(DataSettings(data=str(folder), streaming=True), folder / "cache")
    assert splits.streamed is not None
    assert splits.num_train is not None
    opened, opened_seconds = read_peak_memory(), time.perf_counter() - start
    stream = TrainStream(
        splits.streamed,
        tokenizer,
        template=None,
        shuffle_buffer=shuffle_buffer,
        process=0,
        num_processes=1,
        allow_unknown=False,
        num_embeddings=len(tokenizer),
    )
    collator = Collator(tokenizer, splits.task, max_length=128, truncation="head_tail", pair=False)
    num_batches = -(-splits.num_train // _BATCH_SIZE)
    num_rows = 0
    tenth = 0.0
    for number, batch in enumerate(stream.global_batches(_BATCH_SIZE, 0, 0, start=0, stop=num_batches)):
        num_rows += len(collator(stream[batch]))
        if number == num_batches // 10:
            tenth = read_peak_memory()
    assert num_rows == splits.num_train
    return {
        "rows": num_rows,
        "before": before,
        "opened_seconds": opened_seconds,
        "opened": opened,
        "tenth": tenth,
        "epoch": read_peak_memory(),
        "seconds": time.perf_counter() - start,
    }


def read_peak_memory() -> float:
    """Return the peak resident memory of this process, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def print_table(results: list[dict[str, float]]) -> None:
    """Print a Markdown table with one line per data set."""
    print(
        "| rows | files, MiB | seconds to open | peak before, MiB | peak after opening, MiB | peak after a tenth of "
        "the epoch, MiB | peak after the epoch, MiB | seconds of the epoch |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for result in results:
        print(
            f"| {result['rows']:,} | {result['bytes'] / 2**20:.0f} | {result['opened_seconds']:.1f} | "
            f"{result['before']:.0f} | {result['opened']:.0f} | {result['tenth']:.0f} | {result['epoch']:.0f} | "
            f"{result['seconds']:.0f} |"
        )


if __name__ == "__main__":
    main()
