"""Measure the shares of training time spent in matrix products, attention, random numbers and other operations.

    python experiments/benchmarks/time_shares.py --head linear

The script trains on packaged reviews with the default settings, and profiles some of the steps with torch's profiler. A
share is the time spent in an operation itself, without the operations that it calls, divided by the wall-clock time of
the profiled steps.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from torch.profiler import ProfilerActivity, profile

from research import Hook, RunConfig, run_experiment
from research.training.api import Run

KINDS = {
    "matrix products": ("mm", "addmm", "bmm", "baddbmm", "linear", "mkldnn_linear", "mkldnn_rnn_layer"),
    "attention (fused: matrix products and softmax)": (
        "_scaled_dot_product_flash_attention_for_cpu",
        "_scaled_dot_product_flash_attention_for_cpu_backward",
    ),
    "random numbers of dropout": ("bernoulli_", "native_dropout", "rand_like"),
    "copies and casts": ("copy_", "_to_copy", "cat", "clone", "contiguous"),
    "activations": ("gelu", "gelu_backward", "tanh", "tanh_backward", "relu", "sigmoid"),
    "layer norms": ("native_layer_norm", "native_layer_norm_backward"),
    "optimizer and clipping": ("_fused_adamw_", "_foreach_norm", "_foreach_mul_", "linalg_vector_norm"),
}
"""Kinds of operations, each with the names of its operations, without `aten::`. All remaining operations count as
"other operations"."""
NUM_WARMUP_STEPS = 3


class ProfilerHook(Hook):
    """Profile a range of steps, with everything that happens between them, such as Midway's built-in hooks.

    Args:
        num_warmup_steps: number of steps before profiling starts.
        num_steps: number of steps to profile.
    """

    def __init__(self, num_warmup_steps: int, num_steps: int) -> None:
        self.start_after, self.stop_after = num_warmup_steps, num_warmup_steps + num_steps
        self.profiler = profile(activities=[ProfilerActivity.CPU], acc_events=True)
        self.wall_seconds = 0.0

    def end_of_step(self, run: Run) -> None:
        """Start and stop the profiler between two steps."""
        if run.clock.step == self.start_after:
            self.profiler.start()
            self.started = time.perf_counter()
        if run.clock.step == self.stop_after:
            self.wall_seconds = time.perf_counter() - self.started
            self.profiler.stop()
            run.stop("profiled")

    def format_table(self) -> str:
        """Return the table of shares, and a line with the five largest of the other operations."""
        kind_by_operation = {name: kind for kind, names in KINDS.items() for name in names}
        seconds_by_kind: dict[str, float] = defaultdict(float)
        other_seconds: dict[str, float] = defaultdict(float)
        for event in self.profiler.key_averages():
            name, self_seconds = event.key.removeprefix("aten::"), event.self_cpu_time_total / 1e6
            if name in kind_by_operation:
                seconds_by_kind[kind_by_operation[name]] += self_seconds
            elif event.key.startswith("aten::"):
                seconds_by_kind["other operations"] += self_seconds
                other_seconds[name] += self_seconds
        measured = sum(seconds_by_kind.values())
        seconds_by_kind["outside of operations (Python, autograd, collator)"] = self.wall_seconds - measured
        lines = ["| operations | share of time |", "|---|---|"]
        for kind, value in sorted(seconds_by_kind.items(), key=lambda item: -item[1]):
            lines.append(f"| {kind} | {value / self.wall_seconds:.1%} |")
        largest = sorted(other_seconds.items(), key=lambda item: -item[1])[:5]
        lines.append(f"\nother operations: {', '.join(f'{n} {s / self.wall_seconds:.1%}' for n, s in largest)}")
        return "\n".join(lines)


def main() -> None:
    """Train, profile, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--head", default="linear", help="name of the head (default: linear)")
    parser.add_argument("--steps", type=int, default=20, help="steps to profile, after the warm-up (default: 20)")
    options = parser.parse_args()
    profiler_hook = ProfilerHook(num_warmup_steps=NUM_WARMUP_STEPS, num_steps=options.steps)
    with tempfile.TemporaryDirectory() as folder:
        config = RunConfig(
            head=options.head,
            max_steps=NUM_WARMUP_STEPS + options.steps + 1,
            evaluate_every=None,
            limit_validation=32,
            limit_test=32,
            output_dir=str(Path(folder) / "run"),
        )
        run_experiment(config, hooks=[profiler_hook])
    print(profiler_hook.format_table())


if __name__ == "__main__":
    main()
