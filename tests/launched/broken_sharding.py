"""A script for test_broken_sharding: breaks what splitting a model relies on, and writes how each run ended.

It is started once, on two processes. Every scenario is a separate run with --shard in the same processes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.utils.checkpoint import checkpoint

from research import register_edit
from research.edits.base import Editable
from research.system.sharded_tensors import gather, is_sharded, local_part
from research.training.run import TrainingRun
from research.training.wrapping.fully_sharded import complete_sharding
from tests.launched.broken_edits import (
    REPLACE_HEAD,
    SCALE_LR,
    UNFREEZE,
    Scenario,
    flip_bit_on_last_process,
    freeze_by_hand,
    run_scenario,
)
from tests.launched.runs_in_process import script_parser, write_by_rank

FREEZE_EMBEDDINGS = [{"at": "2st", "freeze": "encoder.embeddings"}]
SPLIT_FROZEN = [
    {"at": "0%", "freeze": "encoder"},
    {"at": "1st", "replace_head": "mean"},
    {"at": "2st", "unfreeze": "encoder.layer[1]"},
]
"""Parameters are split while most of them are frozen, and unfrozen later."""
FREEZE_BELOW = [{"at": "2st", "freeze": ["encoder.embeddings", "encoder.layer[0]"]}]


@register_edit("naive_head", touches="nothing")
def naive_head(run: Editable) -> None:
    """Replace the head without splitting it, because the edit declares that it touches nothing."""
    run.encoder_with_head.replace_head("mean", {})


@register_edit("naive_unit", touches="nothing")
def naive_unit(run: Editable) -> None:
    """Replace the head and split it, but do not tell the rest of the model."""
    model = run.encoder_with_head
    model.replace_head("mean", {})
    if isinstance(run, TrainingRun):
        fully_shard(model.head)


@register_edit("naive_adapter", touches="mask")
def naive_adapter(run: Editable) -> None:
    """Add a parameter to a layer without splitting it, because the edit declares that it touches only the mask."""
    layer = run.encoder_with_head.encoder.get_submodule("encoder.layer.0.attention.self.query")
    layer.register_parameter("adapter", nn.Parameter(torch.zeros(4, device=run.encoder_with_head.device)))


@register_edit("naive_values", touches="modules")
def naive_values(run: Editable, *, in_place: bool) -> None:
    """Change the values of the head, although the edit declares that it touches only modules."""
    for parameter in run.encoder_with_head.head.parameters():
        if in_place:
            with torch.no_grad():
                parameter.mul_(0.5)
        else:
            parameter.data = parameter.data * 0.5


@register_edit("flips_bit_on_process_1", touches="values")
def flips_bit_on_process_1(run: Editable) -> None:
    """Flip a bit of a whole parameter on the second process only."""
    if isinstance(run, TrainingRun):
        flip_bit_on_last_process(run)


@register_edit("freezes_split_on_process_1", touches="mask")
def freezes_split_on_process_1(run: Editable) -> None:
    """Freeze a parameter on the second process only."""
    if isinstance(run, TrainingRun) and run.accelerator.process_index == 1:
        run.encoder_with_head.get_parameter("head.out.bias").requires_grad_(False)


def replace_by_hand(run: TrainingRun) -> None:
    """Replace a parameter without an edit."""
    out = run.encoder_with_head.head.get_submodule("out")
    out.weight = nn.Parameter(gather(out.get_parameter("weight")) * 2)


def flip_bit_of_part(run: TrainingRun) -> None:
    """Change one bit of a part on the last process."""
    flip_bit(run.encoder_with_head, run.accelerator.process_index == 1)


def flip_bit(model: nn.Module, here: bool) -> None:
    """Change one bit of this process's part of the first parameter of the head."""
    parameter = next(each for name, each in model.named_parameters() if name.startswith("head."))
    assert is_sharded(parameter)
    if here:
        local_part(parameter).view(torch.int32).view(-1)[0] ^= 1


def complete_and_flip_bit(model: nn.Module) -> None:
    """Complete the splitting, and change one bit of a part on the second process."""
    complete_sharding(model)
    flip_bit(model, torch.distributed.get_rank() == 1)


def draw_for_parts(run: TrainingRun) -> None:
    """Draw random numbers for parts of gradients, with the same generator on every process."""
    torch.manual_seed(3)
    for parameter in run.encoder_with_head.parameters():
        if parameter.grad is not None:
            parameter.grad.add_(torch.randn_like(parameter.grad))


def draw_in_place(run: TrainingRun) -> None:
    """Reinitialise the part of a parameter at random."""
    with torch.no_grad():
        nn.init.normal_(run.encoder_with_head.get_parameter("head.out.weight"))


def checkpoint_reentrantly(run: TrainingRun) -> None:
    """Checkpoint every layer as PyTorch advises against: the layer loses its gradients if its input has none."""
    layers: Any = run.encoder_with_head.encoder.get_submodule("encoder.layer")
    for layer in layers:

        def forward(*inputs: Any, original: Any = layer.forward, **options: Any) -> Any:
            return checkpoint(lambda *tensors: original(*tensors, **options), *inputs, use_reentrant=True)

        layer.forward = forward


SPLIT = "research.training.wrapping.fsdp2"
SCENARIOS = {
    "nothing broken": Scenario(UNFREEZE),
    "nothing broken, with edits of every kind": Scenario(
        [*FREEZE_EMBEDDINGS, {"at": "2st", "replace_head": "mean"}, {"at": "3st", "reinitialize": "encoder.layer[1]"}]
    ),
    "head not split": Scenario([{"at": "2st", "naive_head": True}]),
    "head unknown to the model": Scenario([{"at": "2st", "naive_unit": True}]),
    "adapter not split": Scenario([{"at": "2st", "naive_adapter": True}]),
    "frozen on one process": Scenario([{"at": "2st", "freezes_split_on_process_1": True}]),
    "frozen by hand": Scenario([], "before_step", freeze_by_hand),
    "replaced by hand": Scenario([], "after_step", replace_by_hand),
    "values changed by an edit of modules": Scenario([{"at": "2st", "naive_values": {"in_place": False}}]),
    "values changed in place by an edit of modules": Scenario([{"at": "2st", "naive_values": {"in_place": True}}]),
    "bit flipped during an edit": Scenario([{"at": "2st", "flips_bit_on_process_1": True}]),
    "bit flipped while splitting": Scenario(
        REPLACE_HEAD, patches={f"{SPLIT}.complete_sharding": complete_and_flip_bit}
    ),
    "bit flipped in one copy": Scenario([], "after_step", flip_bit_of_part, settings={"shard_group_size": 1}),
    "bit flipped in one copy before an edit": Scenario(
        SCALE_LR, "after_step", flip_bit_of_part, settings={"shard_group_size": 1}
    ),
    "unfrozen in bf16": Scenario(SPLIT_FROZEN, settings={"shard_precision": "bf16"}),
    "dtypes not reset": Scenario(
        SPLIT_FROZEN,
        patches={f"{SPLIT}.reset_dtypes": lambda model: None},
        settings={"shard_precision": "bf16"},
    ),
    "checkpointed reentrantly": Scenario(FREEZE_BELOW, "after_step", checkpoint_reentrantly),
    "checkpointed": Scenario(FREEZE_BELOW, settings={"gradient_checkpointing": True}),
    "random numbers for parts": Scenario([], "before_step", draw_for_parts),
    "random values in place": Scenario([], "after_step", draw_in_place),
    "optimizer not updated": Scenario(REPLACE_HEAD, patches={"research.edits.apply.regroup": lambda *_: None}),
}


def main() -> None:
    """Run all scenarios, and write how each of them ended."""
    arguments = script_parser().parse_args()
    settings = {"encoder": arguments.encoder, "data": arguments.data, "shard": "fsdp2"}
    outcomes = {name: run_scenario(scenario, settings) for name, scenario in SCENARIOS.items()}
    write_by_rank(arguments.output, outcomes)


if __name__ == "__main__":
    main()
