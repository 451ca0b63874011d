"""Measure which way of training several recurrent heads at a time is the fastest.

    python experiments/benchmarks/recurrent_heads.py --rounds 3

A study of a recurrent head trains it with several seeds on stored hidden states. Each seed has its own order of rows,
so its own batches. Per round, the time of a training step (forward and backward pass in bf16 autocast, on random hidden
states) is measured for:

- one at a time: a bidirectional layer of PyTorch, with all threads
- one per core: as many processes as cores, each with a layer of PyTorch and one thread, as `--workers auto` trains
- batched: the layers of all seeds as one, with all threads; their weights are stacked, so that each product of a token
  is one batched matrix product

The script prints the median time over steps and rounds, divided by the number of seeds that take a step in it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

BATCH_SIZE, NUM_TOKENS, HIDDEN_SIZE, STATE_SIZE = 32, 230, 384, 256
"""Rows of a batch, tokens of a row, size of the hidden states, and size of the states of each direction."""
LAYERS: dict[str, type[nn.LSTM] | type[nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}
"""Layer of PyTorch, by head."""
WAYS = ("one at a time", "one per core", "batched")


class BatchedLayers(nn.Module):
    """Bidirectional recurrent layers of several seeds, computed together.

    The two directions of each seed are two of the stacked layers.

    Args:
        kind: "lstm" or "gru".
        layers: the layers of PyTorch whose weights are stacked.
    """

    def __init__(self, kind: str, layers: list[nn.LSTM] | list[nn.GRU]) -> None:
        super().__init__()
        self.kind = kind

        def stack(name: str) -> Tensor:
            return torch.stack([getattr(layer, name + end).detach() for layer in layers for end in ("", "_reverse")])

        self.input_weights = nn.Parameter(stack("weight_ih_l0").transpose(1, 2).contiguous())
        self.state_weights = nn.Parameter(stack("weight_hh_l0").transpose(1, 2).contiguous())
        self.input_bias = nn.Parameter(stack("bias_ih_l0").unsqueeze(1))
        self.state_bias = nn.Parameter(stack("bias_hh_l0").unsqueeze(1))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the states of all tokens.

        Args:
            inputs: hidden states, (seeds, batch, tokens, hidden size), without padding.
        Returns:
            The states, (seeds, batch, tokens, 2 * state size).
        """
        num_seeds, batch, tokens, hidden = inputs.shape
        both = torch.stack([inputs, inputs.flip(2)], dim=1).reshape(2 * num_seeds, batch * tokens, hidden)
        gates_of_inputs = torch.baddbmm(self.input_bias.to(inputs.dtype), both, self.input_weights.to(inputs.dtype))
        gates_of_inputs = gates_of_inputs.view(2 * num_seeds, batch, tokens, -1)
        state = inputs.new_zeros(2 * num_seeds, batch, STATE_SIZE)
        cell = inputs.new_zeros(2 * num_seeds, batch, STATE_SIZE, dtype=torch.float32)
        weights, bias = self.state_weights.to(inputs.dtype), self.state_bias.to(inputs.dtype)
        states = []
        for gates in gates_of_inputs.unbind(2):
            of_state = torch.baddbmm(bias, state, weights)
            if self.kind == "lstm":
                write, forget, new, out = (gates + of_state).chunk(4, dim=-1)
                cell = forget.sigmoid() * cell + write.sigmoid() * new.tanh()
                state = (out.sigmoid() * cell.tanh()).to(inputs.dtype)
            else:
                reset, update, new = gates.chunk(3, dim=-1)
                reset_of_state, update_of_state, new_of_state = of_state.chunk(3, dim=-1)
                update = (update + update_of_state).sigmoid()
                new = (new + (reset + reset_of_state).sigmoid() * new_of_state).tanh()
                state = (1 - update) * new + update * state
            states.append(state)
        forward, backward = torch.stack(states, dim=2).view(num_seeds, 2, batch, tokens, -1).unbind(1)
        return torch.cat([forward, backward.flip(2)], dim=-1)


def make_layers(kind: str, num_seeds: int) -> list[nn.LSTM] | list[nn.GRU]:
    """Return a layer of PyTorch for each seed."""
    layers = []
    for seed in range(num_seeds):
        torch.manual_seed(seed)
        layers.append(LAYERS[kind](HIDDEN_SIZE, STATE_SIZE, batch_first=True, bidirectional=True))
    return layers  # type: ignore[return-value]  # all of the same kind


def check_equality(kind: str) -> float:
    """Return the largest difference between the states of batched layers and those of PyTorch, in float32."""
    layers = make_layers(kind, num_seeds=3)
    inputs = torch.randn(3, 2, 10, HIDDEN_SIZE)
    with torch.no_grad():
        expected = torch.stack([layer(each)[0] for layer, each in zip(layers, inputs, strict=True)])
        return float((BatchedLayers(kind, layers)(inputs) - expected).abs().max())


def time_steps(step: Callable[[], None], num_steps: int) -> list[float]:
    """Return the seconds of each step, after two that are not counted."""
    times = []
    for _ in range(num_steps + 2):
        started = time.perf_counter()
        step()
        times.append(time.perf_counter() - started)
    return times[2:]


def time_single_layer(kind: str, num_threads: int, num_steps: int) -> list[float]:
    """Return the seconds of training steps of one layer of PyTorch."""
    torch.set_num_threads(num_threads)
    (layer,) = make_layers(kind, num_seeds=1)
    inputs = torch.randn(BATCH_SIZE, NUM_TOKENS, HIDDEN_SIZE)

    def step() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            states, _ = layer(inputs)
        states.float().mean().backward()

    return time_steps(step, num_steps)


def time_batched_layers(kind: str, num_seeds: int, num_threads: int, num_steps: int) -> list[float]:
    """Return the seconds of training steps of all seeds' layers as one."""
    torch.set_num_threads(num_threads)
    layers = BatchedLayers(kind, make_layers(kind, num_seeds))
    inputs = torch.randn(num_seeds, BATCH_SIZE, NUM_TOKENS, HIDDEN_SIZE, dtype=torch.bfloat16)

    def step() -> None:
        layers(inputs).float().mean().backward()

    return time_steps(step, num_steps)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=5, help="steps per measurement (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=5, help="seeds of each head (default: %(default)s)")
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    print(f"{options.seeds} seeds, {BATCH_SIZE} rows of {NUM_TOKENS} tokens, {cores} cores")
    for kind in LAYERS:
        print(f"{kind}: largest difference of batched layers from PyTorch's in float32: {check_equality(kind):.1e}")
        times: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(options.rounds):
            alone = time_single_layer(kind, cores, options.steps)
            times["one at a time"].append(statistics.median(alone))
            with multiprocessing.get_context("spawn").Pool(cores) as pool:
                tasks = [pool.apply_async(time_single_layer, (kind, 1, options.steps)) for _ in range(cores)]
                per_core = statistics.median(seconds for task in tasks for seconds in task.get())
            times["one per core"].append(per_core / cores)
            batched = time_batched_layers(kind, options.seeds, cores, options.steps)
            times["batched"].append(statistics.median(batched) / options.seeds)
        for way, seconds in times.items():
            spread = f"{1000 * min(seconds):.0f} to {1000 * max(seconds):.0f}"
            print(f"  {way}: {1000 * statistics.median(seconds):.0f} ms per step and seed ({spread})")


if __name__ == "__main__":
    main()
