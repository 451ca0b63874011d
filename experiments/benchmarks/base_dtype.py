"""Measure the peak memory of a LoRA step for each --base_dtype, in a new process each."""

from __future__ import annotations

import argparse
import ctypes
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys

_DTYPES = ("float32", "bf16", "int8", "int4")
_CHECKPOINTING = ("false", "true")
_COLUMNS = ("before", "peak")


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2, help="rows of the batch (default: %(default)s)")
    parser.add_argument("--tokens", type=int, default=64, help="tokens of each row (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default: %(default)s)")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        base_dtype, checkpointing = arguments.measure
        print(json.dumps(measure(base_dtype, checkpointing == "true", arguments.rows, arguments.tokens)))
        return
    results: dict[tuple[str, str], list[dict[str, float]]] = {
        case: [] for case in itertools.product(_DTYPES, _CHECKPOINTING)
    }
    for _ in range(arguments.rounds):
        for case, measured in results.items():  # in turn, so that all have the same disturbances
            command = [sys.executable, __file__, "--measure", *case]
            command += ["--rows", str(arguments.rows), "--tokens", str(arguments.tokens)]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            measured.append(json.loads(output.splitlines()[-1]))
    print("| --base_dtype | --gradient_checkpointing | before training, MiB | peak of the step, MiB |")
    print("|---|---|---|---|")
    for (base_dtype, checkpointing), measured in results.items():
        columns = (describe([each[name] for each in measured]) for name in _COLUMNS)
        print(f"| {base_dtype} | {checkpointing} | {' | '.join(columns)} |")


def describe(values: list[float]) -> str:
    """Return the median and the range of the rounds."""
    median, low, high = (f"{value:,.0f}" for value in (statistics.median(values), min(values), max(values)))
    return f"{median} ({low} to {high})"


def measure(base_dtype: str, gradient_checkpointing: bool, num_rows: int, num_tokens: int) -> dict[str, float]:
    """Take a step with a random Llama of 135 million parameters, with LoRA in all linear layers.

    Returns:
        Resident memory before the step and its peak during the step, without what the process needs before it builds
        the model, in MiB.
    """
    import torch
    from peft import LoraConfig, inject_adapter_in_model
    from transformers import LlamaConfig

    from research.model.base_dtype import store_base_weights
    from research.model.encoder_with_head import EncoderWithHead, EncoderWithHeadConfig
    from research.model.gradient_checkpointing import enable_gradient_checkpointing
    from research.settings.config import BaseDtype

    dtypes: dict[str, BaseDtype] = {"float32": "float32", "bf16": "bf16", "int8": "int8", "int4": "int4"}
    if base_dtype == "int4":
        import bitsandbytes  # noqa: F401
    torch.manual_seed(0)
    at_start = resident_memory()
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        pad_token_id=0,
    )
    model = EncoderWithHead(EncoderWithHeadConfig(encoder=config, head="last", problem_type=PROBLEM)).train()
    store_base_weights(model.encoder, dtypes[base_dtype], torch.device("cpu"))
    for parameter in model.encoder.parameters():
        parameter.requires_grad_(False)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    inject_adapter_in_model(LoraConfig(r=8, target_modules=targets), model.encoder)
    if gradient_checkpointing:
        enable_gradient_checkpointing(model.encoder)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # return the memory that building the model has freed
    before = resident_memory()
    reset_peak_memory()
    input_ids = torch.randint(1, config.vocab_size, (num_rows, num_tokens))
    labels = torch.randint(2, (num_rows,))
    model(input_ids=input_ids, attention_mask=torch.ones_like(input_ids), labels=labels).loss.backward()
    optimizer.step()
    return {"before": before - at_start, "peak": peak_memory() - at_start}


PROBLEM = "single_label_classification"


def resident_memory() -> float:
    """Return the resident memory of this process, in MiB (Linux)."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def reset_peak_memory() -> None:
    """Forget the peak of the resident memory so far, which is that of building the model (Linux)."""
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def peak_memory() -> float:
    """Return the peak of the resident memory since it was reset, in MiB (Linux)."""
    with open(f"/proc/{os.getpid()}/status", encoding="ascii") as file:
        line = next(line for line in file if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
