"""Measure peak memory and time of training steps with and without gradient checkpointing, in a new process each."""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time

_NUM_STEPS = 3


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=16, help="rows of each batch (default: %(default)s)")
    parser.add_argument("--tokens", type=int, default=512, help="tokens of each row (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default: %(default)s)")
    parser.add_argument("--measure", choices=["false", "true"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        print(json.dumps(measure(arguments.measure == "true", arguments.rows, arguments.tokens)))
        return
    results: dict[str, list[dict[str, float]]] = {"false": [], "true": []}
    for _ in range(arguments.rounds):
        for value, measured in results.items():  # in turn, so that both have the same disturbances
            command = [sys.executable, __file__, "--measure", value]
            command += ["--rows", str(arguments.rows), "--tokens", str(arguments.tokens)]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            measured.append(json.loads(output.splitlines()[-1]))
    print("| --gradient_checkpointing | before training, MiB | peak, MiB | seconds per step |")
    print("|---|---|---|---|")
    for value, measured in results.items():
        columns = (describe([each[name] for each in measured], digits) for name, digits in COLUMNS)
        print(f"| {value} | {' | '.join(columns)} |")


COLUMNS = (("before", 0), ("peak", 0), ("seconds", 1))


def describe(values: list[float], digits: int) -> str:
    """Return the median and the range of the rounds."""
    median, low, high = (f"{value:,.{digits}f}" for value in (statistics.median(values), min(values), max(values)))
    return f"{median} ({low} to {high})"


def measure(gradient_checkpointing: bool, num_rows: int, num_tokens: int) -> dict[str, float]:
    """Take steps with MiniLM on random tokens; return peak memory in MiB before and after, and seconds per step."""
    import torch

    from research.model.encoder_with_head import EncoderWithHead, EncoderWithHeadConfig
    from research.model.encoders import load_encoder, load_encoder_config
    from research.model.families import set_dropout
    from research.model.gradient_checkpointing import enable_gradient_checkpointing

    torch.manual_seed(0)
    config = load_encoder_config("minilm")
    set_dropout(config, dropout=None, attention_dropout=0.0)
    encoder = load_encoder("minilm", config)
    model = EncoderWithHead(EncoderWithHeadConfig(encoder=encoder.config, problem_type=PROBLEM), encoder).train()
    if gradient_checkpointing:
        enable_gradient_checkpointing(model.encoder)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    before = read_peak_memory()
    input_ids = torch.randint(1000, 30_000, (num_rows, num_tokens))
    start = time.perf_counter()
    for _ in range(_NUM_STEPS):
        labels = torch.randint(2, (num_rows,))
        model(input_ids=input_ids, attention_mask=torch.ones_like(input_ids), labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    seconds = (time.perf_counter() - start) / _NUM_STEPS
    return {"before": before, "peak": read_peak_memory(), "seconds": seconds}


PROBLEM = "single_label_classification"


def read_peak_memory() -> float:
    """Return the peak resident memory of this process, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
