"""Measure Midway on a GPU, in one run without supervision that takes less than 20 minutes.

    python experiments/benchmarks/gpu.py --output gpu.json

BERT-like models of 22, 110 and 400 million parameters with random weights train on random words in bf16, with and
without torch.compile. In each round, all arms take the same steps, one after the other:

- `bare`: a loop written by hand
- `trainer`: Transformers' Trainer with all suitable options
- `midway`: Midway with its built-in hooks
- `fully_shard`: the loop written by hand, with PyTorch's fully_shard
- `midway, shard`: Midway with `--shard fsdp2`

The script writes a JSON file, and a file of the same name with the printed tables in Markdown: medians over rounds, the
ratios of Midway's speed to that of other arms in the same round, the share of the card's peak, the peak memory, and the
cost of each edit and of a save in steps. It stops before `--minutes` are over, and lists what it left out.

`--device cpu --tiny` tries out the script without a GPU, with a model that is too small to measure anything.
"""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import edit_cost
import throughput
from throughput import Measurement, Setup


@dataclass(frozen=True)
class Size:
    """The size of a BERT-like model, and of its batches."""

    hidden: int
    layers: int
    heads: int
    intermediate: int
    vocabulary: int = 30522
    length: int = 512
    """Tokens per row."""
    batch_size: int = 32
    """Rows per step."""

    @property
    def tokens_per_step(self) -> int:
        """Number of tokens in a step."""
        return self.length * self.batch_size

    @property
    def attention_flops(self) -> int:
        """Floating-point operations of attention in a step, forward and backward.

        Source: Chowdhery et al. 2022, PaLM, appendix B.
        """
        return 12 * self.layers * self.hidden * self.length * self.tokens_per_step


SIZES = {
    "22M": Size(hidden=384, layers=6, heads=12, intermediate=1536, batch_size=64),
    "110M": Size(hidden=768, layers=12, heads=12, intermediate=3072),
    "400M": Size(hidden=1024, layers=29, heads=16, intermediate=4096),
}
"""Models by their approximate number of parameters: the widths and depths of MiniLM, of BERT base, and the width of
BERT large with 29 instead of 24 layers."""
TINY_SIZES = {"tiny": Size(hidden=32, layers=6, heads=2, intermediate=48, vocabulary=99, length=16, batch_size=4)}
PEAK_TFLOPS = {
    r"H100 PCIe": 756,
    r"H(100|200) NVL": 835,
    r"(H|GH)(100|200)\b": 989,
    r"A100\b": 312,
    r"L40S\b": 362,
    r"L4\b": 121,
    r"A10\b": 125,
}
"""Peak of cards in bf16 without sparsity, in 10^12 operations per second, from NVIDIA's data sheets. The keys are
regular expressions for the card's name; the first match counts."""
NUM_WARMUP_STEPS = 5
NUM_SAVES = 3
RATIOS = {"bare": "midway", "trainer": "midway", "fully_shard": "midway, shard"}
"""For each arm that is not Midway's, the arm of Midway that it is compared with."""
Record = dict[str, Any]
"""A line that a process of the benchmark reports."""


def find_peak(card: str) -> float | None:
    """Return a card's peak in operations per second; None if the card is not in the table."""
    return next((1e12 * peak for pattern, peak in PEAK_TFLOPS.items() if re.search(rf"\b{pattern}", card)), None)


def flops_per_step(size: Size, num_parameters: int) -> int:
    """Return the floating-point operations of a step, forward and backward.

    Each parameter outside of the embeddings takes part in one multiplication and one addition per token in the forward
    pass, and in twice as many in the backward pass.

    Args:
        size: the model's size.
        num_parameters: number of parameters without embeddings.
    """
    return 6 * num_parameters * size.tokens_per_step + size.attention_flops


def train_fully_sharded(folder: Path, batch_size: int, *, setup: Setup) -> Measurement:
    """Train with the bare loop and fully_shard, in a group of one process."""
    import torch

    from research.training.rounds import join_alone

    join_alone(torch.device(setup.device))
    try:
        return throughput.train_in_bare_loop(folder, batch_size, setup=setup, shard=True)
    finally:
        torch.distributed.destroy_process_group()


ARMS: dict[str, Callable[..., Measurement]] = {
    "bare": throughput.train_in_bare_loop,
    "midway": throughput.train_with_midway,
    "trainer": throughput.train_with_tuned_trainer,
    "fully_shard": train_fully_sharded,
    "midway, shard": partial(throughput.train_with_midway, shard=True),
}
"""The functions that train, by name of the arm. Each takes `setup`."""


def save_encoder(folder: Path, size: Size) -> None:
    """Save a BERT with random weights, and a tokenizer whose words are w0, w1 and so on."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    folder.mkdir(parents=True)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [f"w{number}" for number in range(size.vocabulary - len(special))]
    (folder / "vocab.txt").write_text("\n".join([*special, *words]) + "\n", encoding="utf-8")
    BertTokenizer(vocab=str(folder / "vocab.txt"), model_max_length=size.length).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=size.vocabulary,
        hidden_size=size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        intermediate_size=size.intermediate,
        max_position_embeddings=size.length,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)


def write_rows(folder: Path, size: Size, num_steps: int) -> None:
    """Write rows of random words, all of which are truncated to the same number of tokens."""
    import numpy as np

    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name, num_rows in (("train", num_steps * size.batch_size), ("validation", 8), ("test", 8)):
        with (folder / f"{name}.jsonl").open("w", encoding="utf-8") as file:
            for row in range(num_rows):
                words = generator.integers(0, size.vocabulary - 5, size=size.length)
                text = " ".join(f"w{word}" for word in words)
                file.write(json.dumps({"text": text, "label": "pos" if row % 2 else "neg"}) + "\n")


def count_parameters(encoder: Path) -> tuple[int, int]:
    """Return the number of an encoder's parameters, and their number without embeddings."""
    from transformers import AutoModel

    model = AutoModel.from_pretrained(encoder, add_pooling_layer=False)
    total = sum(parameter.numel() for parameter in model.parameters())
    return total, total - sum(parameter.numel() for parameter in model.embeddings.parameters())


def find_attention_kernels(folder: Path, size: Size, setup: Setup) -> list[str]:
    """Return the operators with which a training step computes attention, as PyTorch's profiler names them."""
    import torch

    splits, collator, model, _ = throughput.load_parts(folder, 0.0, setup)
    model.to(setup.device).train()
    batch = collator(splits.train[list(range(size.batch_size))]).to(torch.device(setup.device))
    with (
        torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile,
        torch.autocast(setup.device, dtype=torch.bfloat16),
    ):
        model(**batch.inputs)
    # For example aten::_scaled_dot_product_flash_attention, or flash_attn::_flash_attn_forward.
    keys = {event.key for event in profile.key_averages()}
    return sorted(key for key in keys if re.search("_attention|flash_?attn", key, re.IGNORECASE))


def describe_environment(device: str) -> Record:
    """Return the card, the versions of the libraries, and the commit."""
    import torch

    from research.records.results import git_commit

    on_gpu = device == "cuda"
    names = ("torch", "transformers", "accelerate", "flash-attn")
    installed = {package.metadata["Name"] for package in importlib.metadata.distributions()}
    return {
        "device": torch.cuda.get_device_name() if on_gpu else platform.processor() or platform.machine(),
        "memory_bytes": torch.cuda.get_device_properties(0).total_memory if on_gpu else None,
        "cuda": torch.version.cuda if on_gpu else None,
        "cudnn": torch.backends.cudnn.version() if on_gpu else None,
        "nccl": list(torch.cuda.nccl.version()) if on_gpu else None,
        "versions": {
            name: importlib.metadata.version(name)
            for name in names
            if name.replace("-", "_") in {name.replace("-", "_") for name in installed}
        },
        "commit": git_commit(),
        "num_threads": torch.get_num_threads(),
    }


def free_memory(device: str) -> None:
    """Free what the last arm left, so that the next one starts like the first."""
    import torch
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    if "torch._dynamo" in sys.modules:  # importing it takes seconds
        torch._dynamo.reset()
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def measure_arm(arm: str, folder: Path, size: Size, setup: Setup) -> Record:
    """Train an arm; return its speed and its peak memory, or the error with which it failed."""
    import torch

    free_memory(setup.device)
    try:
        seconds, num_rows = ARMS[arm](folder, size.batch_size, setup=setup)
    except Exception as error:  # for example, out of memory: the other arms are measured nevertheless
        traceback.print_exc()
        return {"arm": arm, "error": f"{type(error).__name__}: {error}".splitlines()[0]}
    finally:
        for run in folder.glob("run-*"):  # with gigabytes of weights
            shutil.rmtree(run)
    peak = torch.cuda.max_memory_allocated() if setup.device == "cuda" else None
    return {"arm": arm, "examples_per_second": num_rows / seconds, "peak_memory_bytes": peak}


def measure_arms(folder: Path, size: Size, setup: Setup, num_rounds: int, deadline: float) -> Iterator[Record]:
    """Measure all arms in each round, as long as there is time for a further arm like the longest one so far."""
    longest = 0.0
    for number in range(num_rounds):
        for arm in ARMS:
            started = time.time()
            if started + longest > deadline:
                yield {"left_out": f"round {number + 1}: {arm}"}
                continue
            yield {"round": number, **measure_arm(arm, folder, size, setup)}
            longest = max(longest, time.time() - started)


def measure_costs(folder: Path, size: Size, setup: Setup, deadline: float) -> Iterator[Record]:
    """Measure edits and saves, without and with --shard."""
    from save_cost import measure_saves

    settings: dict[str, Any] = {
        "encoder": setup.encoder,
        "data": str(folder),
        "batch_size": size.batch_size,
        "micro_batch_size": size.batch_size,
        "max_length": size.length,
        "attn_implementation": setup.attention,
        "mixed_precision": "bf16",
        "limit_train": None,
        "limit_validation": None,
        "limit_test": None,
        "report": False,
    }
    longest = 0.0
    for shard in (None, "fsdp2"):
        started = time.time()
        if started + longest > deadline:
            yield {"left_out": f"edits and saves with shard={shard}"}
            continue
        try:
            free_memory(setup.device)
            own = {name: value for name, value in settings.items() if not name.startswith("limit")}
            times = edit_cost.measure_in_this_process(folder, **{**own, "shard": shard})
            free_memory(setup.device)
            saves = measure_saves(NUM_SAVES, folder.parent, **settings, shard=shard)
        except Exception as error:  # see measure_arm
            traceback.print_exc()
            yield {"shard": shard, "error": f"{type(error).__name__}: {error}".splitlines()[0]}
            continue
        times["save"] = statistics.median(saves.save_seconds)
        yield {"shard": shard, "seconds": times, "bytes_of_save": saves.num_bytes}
        longest = max(longest, time.time() - started)


def run_part(part: str, options: argparse.Namespace) -> None:
    """Measure a part of the benchmark in this process, and write a JSON line per record to stdout."""
    name, kind = part.split(",")
    size = sizes(options)[name]
    folder = Path(options.folder) / name
    setup = Setup(
        encoder=str(folder / "encoder"),
        max_length=size.length,
        device=options.device,
        compile_backend=options.compile_backend if kind == "compiled" else None,
        attention=options.attention,
        num_warmup_steps=NUM_WARMUP_STEPS,
    )
    if options.device == "cpu":
        os.environ["ACCELERATE_USE_CPU"] = "true"
    os.environ["MIDWAY_CACHE"] = str(folder / "cache")
    if not folder.exists():
        save_encoder(folder / "encoder", size)
        write_rows(folder / "rows", size, NUM_WARMUP_STEPS + options.steps)
    if kind == "eager":
        total, without_embeddings = count_parameters(folder / "encoder")
        report({"num_parameters": total, "num_parameters_without_embeddings": without_embeddings})
    try:
        kernels = find_attention_kernels(folder / "rows", size, setup)
    except Exception as error:
        if setup.attention in (None, "sdpa"):
            raise
        # The package may not fit the card or the version of PyTorch.
        report({"arm": setup.attention, "error": f"{type(error).__name__}: {error}".splitlines()[0]})
        setup = replace(setup, attention="sdpa")
        kernels = find_attention_kernels(folder / "rows", size, setup)
    report({"attention_kernels": kernels})
    if kind == "costs":
        records = measure_costs(folder / "rows", size, setup, options.deadline)
    else:
        records = measure_arms(folder / "rows", size, setup, options.rounds, options.deadline)
    for record in records:
        report(record)


RECORD = "record: "
"""Marks the lines of stdout that are records; the runs print other lines."""


def report(record: Record) -> None:
    """Print a record for the main process."""
    print(f"\n{RECORD}{json.dumps(record)}", flush=True)


def sizes(options: argparse.Namespace) -> dict[str, Size]:
    """Return the sizes to measure."""
    return TINY_SIZES if options.tiny else SIZES


def start_part(part: str, options: argparse.Namespace, folder: str, deadline: float) -> tuple[list[Record], str | None]:
    """Measure a part in a new process; return its records, and why it ended early, if it did.

    Args:
        part: the size and the kind of measurements.
        options: the options of this script.
        folder: folder for encoders, rows and runs.
        deadline: time at which the process is killed. It stops by itself a little earlier.
    """
    command = [sys.executable, __file__, "--part", part, "--folder", folder]
    command += ["--deadline", str(deadline - 10), "--device", options.device, "--steps", str(options.steps)]
    command += ["--rounds", str(options.rounds), "--compile_backend", options.compile_backend]
    command += ["--tiny"] if options.tiny else []
    command += ["--attention", options.attention] if options.attention else []
    # With several visible GPUs, the Trainer would split each batch over all of them.
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": visible}
    problem = None
    output = Path(folder) / "output.txt"
    errors = Path(folder) / "errors.txt"
    with output.open("w", encoding="utf-8") as stdout, errors.open("w", encoding="utf-8") as stderr:
        try:
            code = subprocess.run(
                command,
                stdout=stdout,
                stderr=stderr,
                env=environment,
                check=False,
                timeout=max(1.0, deadline - time.time()),
            ).returncode
            if code != 0:
                last = errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
                problem = f"exit status {code}: {' '.join(last)}"
        except subprocess.TimeoutExpired:
            problem = "killed at the time limit"
    if problem is not None or '"error"' in output.read_text(encoding="utf-8", errors="replace"):
        sys.stderr.write(errors.read_text(encoding="utf-8", errors="replace")[-4000:])
    lines = output.read_text(encoding="utf-8", errors="replace").splitlines()
    return [json.loads(line.removeprefix(RECORD)) for line in lines if line.startswith(RECORD)], problem


def measure_all(options: argparse.Namespace) -> Record:
    """Measure all parts, and return what is written to the JSON file."""
    started = time.time()
    end = started + 60 * options.minutes
    parts = [f"{name},{kind}" for kind in ("eager", "costs", "compiled") for name in sizes(options)]
    measured: Record = {
        "environment": describe_environment(options.device),
        "options": {name: value for name, value in vars(options).items() if name not in ("part", "folder", "deadline")},
        "sizes": {name: asdict(size) for name, size in sizes(options).items()},
        "parts": {},
        "left_out": [],
    }
    with tempfile.TemporaryDirectory() as folder:
        for index, part in enumerate(parts):
            # Twice an equal share of what is left, since most parts need less than others.
            share = 2 * (end - time.time()) / (len(parts) - index)
            deadline = min(end, time.time() + share)
            if deadline - time.time() < options.shortest_part:
                measured["left_out"].append(f"{part}: no time left")
                continue
            records, problem = start_part(part, options, folder, deadline)
            measured["parts"][part] = [record for record in records if "left_out" not in record]
            measured["left_out"] += [f"{part}: {record['left_out']}" for record in records if "left_out" in record]
            measured["left_out"] += [f"{part}: {problem}"] if problem else []
            measured["left_out"] += [
                f"{part}: {record.get('arm', 'edits and saves')} failed: {record['error']}"
                for record in records
                if "error" in record
            ]
            print(f"{time.time() - started:.0f} s: {part}: {len(measured['parts'][part])} records", flush=True)
    measured["minutes"] = (time.time() - started) / 60
    return measured


def format_tables(measured: Record) -> str:
    """Return all results as tables in Markdown."""
    environment = measured["environment"]
    peak = find_peak(environment["device"])
    facts = facts_by_size(measured)
    kernels = sorted({kernel for fact in facts.values() for kernel in fact.get("attention_kernels", [])})
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items())
    lines = [
        f"{environment['device']}, {versions}, bf16. Attention: {', '.join(kernels) or 'not determined'}"
        + ("" if "flash-attn" in environment["versions"] else " (the package flash-attn is not installed)")
        + (
            f". Peak: {peak / 1e12:.0f} TFLOPS."
            if peak
            else ". The share of the peak is left out: the card is not in the table of peaks."
        ),
        "",
        "| model | compiled | arm | examples/s (median) | all rounds | Midway's speed / this arm's | share of the peak "
        "| peak memory, MiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, kind in ((name, kind) for name in measured["sizes"] for kind in ("eager", "compiled")):
        rounds = speeds_by_arm(measured["parts"].get(f"{name},{kind}", []))
        for arm, records in rounds.items():
            speed = statistics.median(record["examples_per_second"] for record in records.values())
            cells = [name, "yes" if kind == "compiled" else "no", arm, f"{speed:.1f}"]
            cells.append(", ".join(f"{record['examples_per_second']:.1f}" for record in records.values()))
            cells.append(format_ratio(rounds, RATIOS.get(arm), arm))
            flops = facts[name].get("flops_per_example")
            cells.append(f"{flops * speed / peak:.1%}" if peak and flops else "")
            memory = [record["peak_memory_bytes"] for record in records.values() if record["peak_memory_bytes"]]
            cells.append(f"{statistics.median(memory) / 2**20:,.0f}" if memory else "")
            lines.append(f"| {' | '.join(cells)} |")
    lines += ["", *format_costs(measured)]
    if measured["left_out"]:
        lines += ["", "Left out:", "", *(f"- {item}" for item in measured["left_out"])]
    return "\n".join(lines)


def facts_by_size(measured: Record) -> dict[str, Record]:
    """Return the facts about each size's model, and the operations per example."""
    facts: dict[str, Record] = {}
    for name, values in measured["sizes"].items():
        size = Size(**values)
        records = measured["parts"].get(f"{name},eager", [])
        facts[name] = {key: value for record in records if "arm" not in record for key, value in record.items()}
        if (num_parameters := facts[name].get("num_parameters_without_embeddings")) is not None:
            facts[name]["flops_per_example"] = flops_per_step(size, num_parameters) / size.batch_size
    return facts


def speeds_by_arm(records: list[Record]) -> dict[str, dict[int, Record]]:
    """Return the records of each arm that was measured, by round."""
    return {
        arm: rounds
        for arm in ARMS
        if (
            rounds := {
                record["round"]: record
                for record in records
                if record.get("arm") == arm and "examples_per_second" in record
            }
        )
    }


def format_ratio(rounds: dict[str, dict[int, Record]], first: str | None, second: str) -> str:
    """Return the median and the range of the ratio of two arms' speeds, over the rounds in which both ran."""
    if first is None or first not in rounds:
        return ""
    common = rounds[first].keys() & rounds[second].keys()
    ratios = [
        rounds[first][number]["examples_per_second"] / rounds[second][number]["examples_per_second"]
        for number in sorted(common)
    ]
    return f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})" if ratios else ""


def format_costs(measured: Record) -> list[str]:
    """Return the lines of the table of edits and saves, in milliseconds and in steps."""
    columns = [
        (f"{name}{', shard' if record['shard'] else ''}", record["seconds"])
        for name in measured["sizes"]
        for record in measured["parts"].get(f"{name},costs", [])
        if "seconds" in record
    ]
    if not columns:
        return ["Edits and saves were not measured."]
    lines = ["| milliseconds (steps) |" + "".join(f" {name} |" for name, _ in columns)]
    lines.append("|---|" + "---|" * len(columns))
    for row in columns[0][1]:
        cells = [f"{1000 * seconds[row]:.1f} ({seconds[row] / seconds['step']:.2f})" for _, seconds in columns]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Measure everything, print the tables, and write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("gpu.json"), help="JSON file (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=18, help="time limit in minutes (default: %(default)s)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="device (default: %(default)s)")
    parser.add_argument("--rounds", type=int, help="rounds of all arms (default: 3; with --tiny 1)")
    parser.add_argument("--steps", type=int, help="measured steps of each arm (default: 30; with --tiny 2)")
    parser.add_argument("--compile_backend", help="backend of torch.compile (default: inductor; with --tiny aot_eager)")
    parser.add_argument("--tiny", action="store_true", help="only try out the script, with a tiny model")
    parser.add_argument("--attention", help="flash_attention_2 (default if flash-attn is installed) or sdpa")
    for name in ("--part", "--folder"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    parser.add_argument("--deadline", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.tiny else 3)
    options.steps = options.steps or (2 if options.tiny else 30)
    options.compile_backend = options.compile_backend or ("aot_eager" if options.tiny else "inductor")
    if options.part:
        run_part(options.part, options)
        return
    import torch

    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("Requires a CUDA device; none found. --device cpu --tiny tries out the script without one.")
    options.shortest_part = 5 if options.tiny else 45
    if options.attention is None and options.device == "cuda":
        from transformers.utils.import_utils import is_flash_attn_2_available

        options.attention = "flash_attention_2" if is_flash_attn_2_available() else "sdpa"
    measured = measure_all(options)
    options.output.write_text(json.dumps(measured, indent=1, default=str) + "\n", encoding="utf-8")
    tables = format_tables(measured)
    options.output.with_suffix(".md").write_text(tables + "\n", encoding="utf-8")
    print(f"\n{tables}\n\nWrote {options.output} and {options.output.with_suffix('.md')}.")


if __name__ == "__main__":
    main()
