"""A script for test_broken_edits: breaks invariants that are checked between two steps, and writes how each run ended.

It is started once for each number of processes. Every scenario is a separate run in the same processes. Each run must
end on all processes: with an error or, if nothing is wrong, as usual.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch

from heads import EncoderSpec, Head, register_head
from heads.masking import masked_mean
from research import Hook, register_edit
from research.edits.base import Editable
from research.training.api import Run
from research.training.run import TrainingRun
from research.training.wrapping.base import Wrapping
from tests.launched.runs_in_process import prepare_run, script_parser, train_and_end, write_by_rank

# Timelines. The time "2st" is the boundary after step 2.
UNFREEZE = [{"at": "0%", "freeze": "encoder"}, {"at": "2st", "unfreeze": "encoder.layer[1]"}]
REPLACE_HEAD = [{"at": "2st", "replace_head": "mean"}]
SCALE_LR = [{"at": "2st", "scale_lr": 0.5}]


@register_edit("fails_on_process_1")
def fails_on_process_1(run: Editable) -> None:
    """Fail on the second process only, except in the rehearsal (which passes an object that is not a TrainingRun)."""
    if isinstance(run, TrainingRun) and run.accelerator.process_index == 1:
        raise RuntimeError("this process fails")


@register_edit("freezes_on_process_1")
def freezes_on_process_1(run: Editable) -> None:
    """Freeze a parameter on the second process only."""
    if isinstance(run, TrainingRun) and run.accelerator.process_index == 1:
        run.encoder_with_head.get_parameter("head.out.bias").requires_grad_(False)


@register_edit("grows_on_process_1")
def grows_on_process_1(run: Editable) -> None:
    """Add a parameter to the head on the second process only."""
    if isinstance(run, TrainingRun) and run.accelerator.process_index == 1:
        run.encoder_with_head.head.register_parameter("more", torch.nn.Parameter(torch.zeros(2)))


@register_head("normalized")
class Normalized(Head):
    """Mean over tokens, then a batch norm (with running statistics) or a layer norm. Counts its calls in training."""

    num_calls: torch.Tensor

    def __init__(self, encoder: EncoderSpec, num_labels: int, *, running_statistics: bool = True) -> None:
        super().__init__()
        self.norm = (torch.nn.BatchNorm1d if running_statistics else torch.nn.LayerNorm)(encoder.hidden_size)
        self.out = torch.nn.Linear(encoder.hidden_size, num_labels)
        self.register_buffer("num_calls", torch.zeros((), dtype=torch.long))

    def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """See `Head.forward`."""
        self.num_calls += self.training
        return self.out(self.norm(masked_mean(hidden_states, attention_mask)))


@register_head("with_unused")
class WithUnused(Head):
    """Mean over tokens, with unused parameters."""

    def __init__(self, encoder: EncoderSpec, num_labels: int) -> None:
        super().__init__()
        self.out = torch.nn.Linear(encoder.hidden_size, num_labels)
        self.unused = torch.nn.Linear(2, 2)

    def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """See `Head.forward`."""
        return self.out(masked_mean(hidden_states, attention_mask))


@register_head("reads_embeddings")
class ReadsEmbeddings(Head):
    """Mean over tokens of the embeddings, so that no layer gets a gradient."""

    wants = "all_hidden_states"

    def __init__(self, encoder: EncoderSpec, num_labels: int) -> None:
        super().__init__()
        self.out = torch.nn.Linear(encoder.hidden_size, num_labels)

    def forward(self, hidden_states: tuple[torch.Tensor, ...], attention_mask: torch.Tensor) -> torch.Tensor:
        """See `Head.forward`."""
        return self.out(masked_mean(hidden_states[0], attention_mask))


class CallAtPoint(Hook):
    """Call a function once in the second step.

    Args:
        point: point at which to call it.
        action: the function.
    """

    def __init__(self, point: str, action: Callable[[TrainingRun], None]) -> None:
        self.point = point
        self.action = action

    def before_step(self, run: Run) -> None:
        """Call the function if this is its point."""
        self._call("before_step", run, 1)

    def after_backward(self, run: Run, batch: Any) -> None:
        """Call the function if this is its point."""
        self._call("after_backward", run, 1)

    def after_step(self, run: Run) -> None:
        """Call the function if this is its point."""
        self._call("after_step", run, 2)

    def end_of_step(self, run: Run) -> None:
        """Call the function if this is its point."""
        self._call("end_of_step", run, 2)

    def _call(self, point: str, run: Run, step: int) -> None:
        # The clock counts finished steps: it shows 1 during the second step, and 2 from after_step on.
        assert isinstance(run, TrainingRun)
        if point == self.point and run.clock.step == step:
            self.action(run)


def keep_wrappers(wrapping: Wrapping, touches: Any, optimizer: Any) -> dict[Any, Any]:
    """Keep the old wrappers, instead of creating new ones for the edited model."""
    return {}


def replace_only_parameter_list(wrapping: Wrapping, touches: Any, optimizer: Any) -> dict[Any, Any]:
    """Keep the old wrappers, but with the new list of trainable parameters."""
    wrapping._set_trainable()
    return {}


def flip_bit_on_last_process(run: TrainingRun) -> None:
    """Change one bit on the last process."""
    if run.accelerator.process_index == run.accelerator.num_processes - 1:
        with torch.no_grad():
            bias = run.encoder_with_head.get_parameter("head.out.bias").view(torch.int32)
            bias[0] ^= 1


def change_buffer_differently(run: TrainingRun) -> None:
    """Add a different number to a saved buffer on each process."""
    num_calls = run.encoder_with_head.get_buffer("head.num_calls")
    num_calls += run.accelerator.process_index


def set_rate_by_hand(run: TrainingRun) -> None:
    """Set a learning rate in the optimizer, without an edit or the schedule."""
    run.optimizer.param_groups[0]["lr"] = 0.5


def set_rate_on_last_process(run: TrainingRun) -> None:
    """Change the learning rate of a block on the last process only."""
    if run.accelerator.process_index == run.accelerator.num_processes - 1:
        group = run.optimizer.param_groups[0]
        group["base_lr"], group["lr"] = 2 * group["base_lr"], 2 * group["lr"]


def skip_on_first_process(run: TrainingRun) -> None:
    """Skip a step on the first process only."""
    if run.accelerator.process_index == 0:
        run.skip_step("only this process")


def give_gradient_to_frozen_parameter(run: TrainingRun) -> None:
    """Give a frozen parameter a gradient."""
    table = run.encoder_with_head.get_parameter("encoder.embeddings.word_embeddings.weight")
    table.grad = torch.zeros_like(table)


def freeze_by_hand(run: TrainingRun) -> None:
    """Freeze a part of the model without an edit."""
    run.encoder_with_head.encoder.embeddings.requires_grad_(False)


def request_on_first_process(run: TrainingRun) -> None:
    """Request an edit on the first process only."""
    if run.accelerator.process_index == 0:
        run.edit.freeze("encoder.layer[0]")


def request_differently(run: TrainingRun) -> None:
    """Request a different edit on each process."""
    run.edit.scale_lr(0.5 + 0.1 * run.accelerator.process_index)


def request_freezing_everything(run: TrainingRun) -> None:
    """Request an edit that leaves no trainable parameters."""
    run.edit.freeze("all")


def request_misspelt_edit(run: TrainingRun) -> None:
    """Request an edit with a misspelt name."""
    run.edit.unfreze("encoder")


def request_missing_layer(run: TrainingRun) -> None:
    """Request an edit of a layer that does not exist."""
    run.edit.freeze("encoder.layer[7]")


def stop_on_last_process(run: TrainingRun) -> None:
    """Stop on the last process only."""
    if run.accelerator.process_index == run.accelerator.num_processes - 1:
        run.stop("the last process stops")


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A run, and the way in which it is broken."""

    timeline: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    """Edits of the run."""
    point: str = ""
    """Point at which a hook calls `action`."""
    action: Callable[[TrainingRun], None] | None = None
    """Function that breaks an invariant."""
    patches: dict[str, Any] = dataclasses.field(default_factory=dict)
    """At most one of Midway's functions, by its full name, and what replaces it."""
    compiled: bool = False
    """Whether the model is compiled."""
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Additional settings of the run."""


END_EDITS = "research.training.wrapping.ddp.ReplicatedModel.end_edits"
WITHOUT_STATISTICS = {"name": "normalized", "running_statistics": False}
SCENARIOS = {
    "nothing broken": Scenario(UNFREEZE),
    "optimizer not updated": Scenario(REPLACE_HEAD, patches={"research.edits.apply.regroup": lambda *_: None}),
    "frozen parameter keeps its gradient": Scenario(
        [{"at": "0%", "freeze": "encoder.embeddings"}, *SCALE_LR], "after_step", give_gradient_to_frozen_parameter
    ),
    # DDP's reducer averages the gradients.
    "reducer not updated": Scenario(UNFREEZE, patches={END_EDITS: keep_wrappers}),
    "reducer updated only in name": Scenario(UNFREEZE, patches={END_EDITS: replace_only_parameter_list}),
    "learning rate set by hand": Scenario(UNFREEZE, "after_step", set_rate_by_hand),
    "one bit differs": Scenario(UNFREEZE, "after_step", flip_bit_on_last_process),
    "compiled code not updated": Scenario(UNFREEZE, patches={END_EDITS: keep_wrappers}, compiled=True),
    "frozen by hand": Scenario([], "before_step", freeze_by_hand),
    "frozen by hand in after_backward": Scenario([], "after_backward", freeze_by_hand),
    "frozen by hand during an edit": Scenario(SCALE_LR, "after_step", freeze_by_hand),
    "frozen on one process": Scenario([{"at": "2st", "freezes_on_process_1": True}]),
    "parameter added on one process": Scenario([{"at": "2st", "grows_on_process_1": True}]),
    "learning rate of one process": Scenario(SCALE_LR, "after_step", set_rate_on_last_process),
    "one bit differs without edits": Scenario([], "after_step", flip_bit_on_last_process),
    "statistics of one process": Scenario(settings={"head": "normalized"}),
    "statistics of one process after an edit": Scenario([{"at": "2st", "replace_head": "normalized"}]),
    "counter of all processes": Scenario(settings={"head": WITHOUT_STATISTICS}),
    "buffer of one process": Scenario(
        [], "after_step", change_buffer_differently, settings={"head": WITHOUT_STATISTICS}
    ),
    "no gradient": Scenario(settings={"head": "with_unused"}),
    "no gradient after an edit": Scenario([{"at": "2st", "replace_head": "with_unused"}]),
    "no gradient but frozen": Scenario(settings={"head": "with_unused", "freeze": ["name:head.unused.*"]}),
    "no gradient in the encoder": Scenario(settings={"head": "reads_embeddings"}),
    "skipped by one process": Scenario([], "before_step", skip_on_first_process),
    "requested on one process": Scenario([], "after_step", request_on_first_process),
    "different requests": Scenario([], "after_step", request_differently),
    "requested in end_of_step": Scenario([], "end_of_step", request_differently),
    "nothing left to train": Scenario([], "after_step", request_freezing_everything),
    "misspelt edit": Scenario([], "after_step", request_misspelt_edit),
    "selector matches nothing": Scenario([], "after_step", request_missing_layer),
    "fails on one process": Scenario([{"at": "2st", "fails_on_process_1": True}]),
    "stopped by one process": Scenario([], "after_step", stop_on_last_process),
}


@contextmanager
def apply_patch(patches: dict[str, Any]) -> Iterator[None]:
    """Replace at most one of Midway's functions inside the context."""
    if not patches:
        yield
        return
    (name, replacement), *_ = patches.items()
    with patch(name, replacement):
        yield


def run_scenario(scenario: Scenario, settings: dict[str, Any]) -> str:
    """Train, and return the error message or how the run ended."""
    hooks = [] if scenario.action is None else [CallAtPoint(scenario.point, scenario.action)]
    with tempfile.TemporaryDirectory() as folder:
        try:
            run = prepare_run(
                folder,
                hooks,
                max_steps=4,
                mixed_precision="no",
                timeline=scenario.timeline,
                compile=scenario.compiled,
                compile_backend="eager",
                **settings,
                **scenario.settings,
            )
            with apply_patch(scenario.patches):
                train_and_end(run)
        except Exception as error:  # return it as a user would see it
            return f"{type(error).__name__}: {error}"
    return f"ended after step {run.clock.step}: {run.stop_reason}"


def main() -> None:
    """Run all scenarios, and write how each of them ended."""
    arguments = script_parser().parse_args()
    outcomes = {
        name: run_scenario(scenario, {"encoder": arguments.encoder, "data": arguments.data})
        for name, scenario in SCENARIOS.items()
    }
    write_by_rank(arguments.output, outcomes)


if __name__ == "__main__":
    main()
