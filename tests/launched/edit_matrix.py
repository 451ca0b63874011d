"""A script for test_edit_matrix: trains a tiny model through every edit, and checks the effects of the edit.

It is started for each number of processes, for compiled models, and to check that it detects replicas that differ.
Every cell of the matrix (an edit, a number of micro-batches, a precision and a compiler backend) is a separate run in
the same processes. The expected effects are listed here by parameter name, so that they do not depend on the code under
test.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate.utils import gather_object

from research import Hook, register_edit
from research.data.batches.batch import Batch
from research.edits.base import Editable
from research.learning.objectives import Focal
from research.learning.schedules import create_schedule
from research.settings.times import Clock
from research.training.api import Run
from research.training.audit_error import AuditError
from research.training.run import TrainingRun
from tests.launched.runs_in_process import prepare_run, script_parser, train_and_end, write_by_rank

STEP_OF_EDIT = 2
NUM_STEPS_AFTER_EDIT = 8
BASE_RATES = {"embeddings": 0.9**2 * 0.01, "layer.0": 0.9 * 0.01, "layer.1": 0.01, "head": 0.02}
"""Base rates of the blocks before the edit. They follow from lr 0.01, layer_decay 0.9 and head_lr 0.02."""
MAY_STAY_EQUAL = re.compile(r"\.key\.bias$")
"""Key biases have a true gradient of 0, so only rounding errors may change them."""

NameTest = Callable[[str], bool]
"""Function that returns whether a parameter belongs to a group, given its name."""


@register_edit("shift_bias")
def shift_bias(run: Editable, amount: float = 0.5) -> None:
    """Add a number to the bias of the head's output layer and freeze it, as an example of a user's edit."""
    with torch.no_grad():
        run.encoder_with_head.get_parameter("head.out.bias").add_(amount)
    run.encoder_with_head.get_parameter("head.out.bias").requires_grad_(False)


@dataclass(frozen=True)
class Case:
    """An edit, and its expected effects."""

    edit: dict[str, Any]
    """The edit as in a timeline."""
    trains: NameTest = lambda name: True
    """Function that returns whether a parameter trains after the edit, given its name."""
    earlier_entries: list[dict[str, Any]] = field(default_factory=list)
    """Entries of the timeline before the edit."""
    base_rates: dict[str, float] = field(default_factory=lambda: dict(BASE_RATES))
    """Base rates of the blocks after the edit."""
    needs_decoder: bool = False
    """Whether the encoder is a tiny Llama instead of a tiny BERT."""
    check: Callable[[TrainingRun, list[int]], bool] = lambda run, widths: True
    """Function that takes the run at its end and the widths of the batches after the edit (in tokens, with padding).

    It returns whether they are as expected.
    """


COMPILED_IN_QUICK_TESTS = ("freeze", "unfreeze", "set_dropout", "replace_head", "set_max_length", "add_lora")
"""Edits that `make test` compiles: one for each way in which a stale graph would be wrong.

Tracing a model twice takes longer than all uncompiled cells of an edit together, so the compiled cells of the other
edits are slow tests.
"""

UNCOMPILED = ((1, "no"), (4, "no"), (4, "bf16"))
"""Number of micro-batches and precision of each uncompiled cell of an edit. A compiled cell uses the first pair.

bf16 has one cell, since some machines emulate it slowly.
"""


def belongs_to_layers(*numbers: int) -> NameTest:
    """Return a function that returns whether a parameter belongs to one of the given layers."""
    return lambda name: any(name.startswith(f"encoder.encoder.layer.{number}.") for number in numbers)


def is_adapter_or_head(name: str) -> bool:
    adapters = ("lora_", "ia3_l", "oft_R", "vera_lambda", "prompt_tuning")
    return any(part in name for part in adapters) or name.startswith("head.")


def dropout_rates(run: TrainingRun) -> set[float]:
    """Return the dropout rates of the model, without the attention dropout, which the edit does not change."""
    return {
        module.p
        for name, module in run.encoder_with_head.named_modules()
        if isinstance(module, torch.nn.Dropout) and not name.endswith("attention.self.dropout")
    }


def weight_decays(run: TrainingRun) -> dict[tuple[str, bool], float]:
    """Return weight decays by block and by whether the parameters may decay: matrices do, biases and norms do not."""
    return {(group["block"], group["decays"]): group["weight_decay"] for group in run.optimizer.param_groups}


CASES = {
    "freeze": Case({"freeze": "encoder.layer[0]"}, trains=lambda name: not belongs_to_layers(0)(name)),
    "unfreeze": Case(
        {"unfreeze": "encoder.layer[-1:]"},
        trains=lambda name: name.startswith("head.") or belongs_to_layers(1)(name),
        earlier_entries=[{"at": "0%", "freeze": "encoder"}],
    ),
    "set_dropout": Case({"set_dropout": 0.25}, check=lambda run, widths: dropout_rates(run) == {0.25}),
    "set_bidirectional": Case(
        {"set_bidirectional": True},
        base_rates={**BASE_RATES, "rest": 0.01},
        needs_decoder=True,
        check=lambda run, widths: run.encoder_with_head.config.encoder.is_causal is False,
    ),
    "set_lr": Case({"set_lr": {"lr": 0.003, "modules": "head"}}, base_rates={**BASE_RATES, "head": 0.003}),
    "scale_lr": Case({"scale_lr": 0.5}, base_rates={block: rate * 0.5 for block, rate in BASE_RATES.items()}),
    "set_weight_decay": Case(
        {"set_weight_decay": {"weight_decay": 0.3, "modules": "encoder"}},
        check=lambda run, widths: (
            {decay for (block, decays), decay in weight_decays(run).items() if decays and block != "head"} == {0.3}
            and {decay for (block, decays), decay in weight_decays(run).items() if not decays} == {0.0}
        ),
    ),
    "replace_head": Case(
        {"replace_head": {"name": "lstm", "lstm_size": 8}},
        check=lambda run, widths: type(run.encoder_with_head.head).__name__ == "LSTMHead",
    ),
    "reinitialize": Case({"reinitialize": "encoder.layer[-1]"}),
    "drop_layers": Case(
        {"drop_layers": "encoder.layer[0]"},
        # The remaining layer was layer.1 and keeps its rate.
        base_rates={block: rate for block, rate in BASE_RATES.items() if block != "layer.1"} | {"layer.0": 0.01},
        check=lambda run, widths: not any(".layer.1." in name for name, _ in run.encoder_with_head.named_parameters()),
    ),
    "set_objective": Case(
        {"set_objective": {"name": "focal", "gamma": 1.0}},
        check=lambda run, widths: isinstance(run.objective, Focal) and run.objective.gamma == 1.0,
    ),
    "set_optimizer": Case(
        {"set_optimizer": {"optimizer": {"name": "sgd", "momentum": 0.9}, "lr": 0.1}},
        base_rates={block: rate * 10 for block, rate in BASE_RATES.items()},
        check=lambda run, widths: all("momentum_buffer" in state for state in run.optimizer.state.values()),
    ),
    "set_max_length": Case({"set_max_length": 8}, check=lambda run, widths: max(widths) == 8),
    "add_lora": Case({"add_lora": {"r": 2}}, trains=is_adapter_or_head),
    "add_dora": Case({"add_dora": {"r": 2}}, trains=is_adapter_or_head),
    "add_rslora": Case({"add_rslora": {"r": 2}}, trains=is_adapter_or_head),
    "add_ia3": Case({"add_ia3": True}, trains=is_adapter_or_head),
    "add_oft": Case({"add_oft": {"oft_block_size": 8}}, trains=is_adapter_or_head),
    "add_prompt_tuning": Case({"add_prompt_tuning": {"num_virtual_tokens": 3}}, trains=is_adapter_or_head),
    "add_vera": Case({"add_vera": {"r": 4}}, trains=is_adapter_or_head),
    "merge_adapters": Case(
        {"merge_adapters": True},
        earlier_entries=[{"at": "0%", "add_dora": {"r": 2}}],
        check=lambda run, widths: not any("lora" in name for name, _ in run.encoder_with_head.named_modules()),
    ),
    "merge_lora": Case(
        {"merge_lora": True},
        earlier_entries=[{"at": "0%", "add_lora": {"r": 2}}],
        check=lambda run, widths: not any("lora" in name for name, _ in run.encoder_with_head.named_modules()),
    ),
    "shift_bias": Case({"shift_bias": 0.25}, trains=lambda name: name != "head.out.bias"),
}


class EffectRecorder(Hook):
    """Record values, gradients, learning rates and batch widths before and after the edit.

    Args:
        sabotage: "drift" to make the replicas differ after the edit; None to change nothing.
    """

    def __init__(self, sabotage: str | None) -> None:
        self.sabotage = sabotage
        self.values_at_edit: dict[str, torch.Tensor] = {}
        self.parameters_with_gradient: set[torch.nn.Parameter] = set()
        self.widths: list[int] = []
        self.rates: list[dict[str, float]] = []
        self.digests: list[str] = []

    def on_batch(self, run: Run, batch: Batch) -> None:
        """Record the width of the batch."""
        if self.values_at_edit:
            self.widths.append(batch.inputs["input_ids"].shape[1])

    def before_step(self, run: Run) -> None:
        """Record which parameters have a gradient, and make the replicas differ if requested."""
        if self.sabotage == "drift" and self.values_at_edit and run.accelerator.process_index == 1:
            with torch.no_grad():
                run.encoder_with_head.get_parameter("head.out.bias").add_(1e-3)
        self.parameters_with_gradient |= {p for p in run.encoder_with_head.parameters() if p.grad is not None}

    def after_edits(self, run: Run) -> None:
        """Record all values right after the edit."""
        if run.clock.step == STEP_OF_EDIT:
            self.values_at_edit = {name: p.detach().clone() for name, p in run.encoder_with_head.named_parameters()}
            # New and reinitialised parameters have not had a gradient yet.
            self.parameters_with_gradient -= run.new_parameters

    def after_step(self, run: Run) -> None:
        """Record learning rates and a hash of all weights after the edit."""
        if self.values_at_edit:
            assert run.last_step is not None
            self.rates.append(run.last_step.learning_rates)
            digest = hashlib.sha256()
            for _, parameter in run.encoder_with_head.named_parameters():
                digest.update(parameter.detach().numpy().tobytes())
            self.digests.append(digest.hexdigest())


def run_cell(case: Case, settings: dict[str, Any], sabotage: str | None) -> list[str]:
    """Train through one edit, and return the deviations from its expected effects."""
    num_steps = STEP_OF_EDIT + NUM_STEPS_AFTER_EDIT
    recorder = EffectRecorder(sabotage)
    with tempfile.TemporaryDirectory() as folder:
        run = prepare_run(
            folder,
            [recorder],
            max_steps=num_steps,
            optimizer="adamw",
            lr=0.01,
            head_lr=0.02,
            layer_decay=0.9,
            warmup="3st",
            timeline=[*case.earlier_entries, {"at": f"{STEP_OF_EDIT}st", **case.edit}],  # after this step
            **settings,
        )
        deviations = []
        try:
            train_and_end(run)
        except AuditError as error:  # the deviations found in the recorded values are returned too
            deviations.append(str(error))
    return deviations + find_deviations(case, run, recorder)


def find_deviations(case: Case, run: TrainingRun, recorder: EffectRecorder) -> list[str]:
    """Return the deviations from the expected effects of an edit."""
    deviations = []
    model = run.encoder_with_head
    for name, parameter in model.named_parameters():
        has_changed = not torch.equal(parameter, recorder.values_at_edit[name])
        if has_changed != case.trains(name) and not (case.trains(name) and MAY_STAY_EQUAL.search(name)):
            deviations.append(f"{name} {'changed' if has_changed else 'did not change'}")
        if parameter.requires_grad != case.trains(name):
            deviations.append(f"{name} is {'trainable' if parameter.requires_grad else 'frozen'}")
    parameters_with_state = set(run.optimizer.state)
    expected = {parameter for parameter in model.parameters() if parameter in recorder.parameters_with_gradient}
    if parameters_with_state != expected:
        deviations.append(
            f"optimizer state for {len(parameters_with_state)} parameters, but {len(expected)} had gradients"
        )
    num_steps = STEP_OF_EDIT + NUM_STEPS_AFTER_EDIT
    # All times of the schedule are in steps, so steps_per_epoch has no effect.
    schedule = create_schedule(run.config, Clock(steps_per_epoch=6, total_steps=num_steps, batch_size=8))
    for step in range(STEP_OF_EDIT + len(recorder.rates)):
        if step >= STEP_OF_EDIT:
            expected_rates = {block: rate * schedule.factor for block, rate in case.base_rates.items()}
            rates = recorder.rates[step - STEP_OF_EDIT]
            if rates.keys() != expected_rates.keys() or any(
                abs(rates[block] - expected_rates[block]) > 1e-12 for block in expected_rates
            ):
                deviations.append(f"step {step + 1}: rates {rates}, expected {expected_rates}")
                break
        schedule.step()
    if len(recorder.digests) != NUM_STEPS_AFTER_EDIT:
        deviations.append(f"{len(recorder.digests)} steps after the edit instead of {NUM_STEPS_AFTER_EDIT}")
    if run.accelerator.num_processes > 1:
        all_digests = gather_object([recorder.digests])
        steps_that_differ = [
            step for step, digests in enumerate(zip(*all_digests, strict=True), start=1) if len(set(digests)) > 1
        ]
        if steps_that_differ:
            deviations.append(f"replicas differ from step {steps_that_differ[0]} after the edit")
    if not case.check(run, recorder.widths):
        deviations.append("the check of the edit's own effect failed")
    return deviations


def main() -> None:
    """Run the requested cells, and write the deviations of each."""
    parser = script_parser()
    parser.add_argument("--num_processes", type=int, required=True)
    parser.add_argument("--decoder", required=True)
    parser.add_argument("--backends", default="none")
    parser.add_argument("--edits", default=",".join(CASES))
    parser.add_argument("--sabotage", default=None)
    arguments = parser.parse_args()
    results: dict[str, list[str]] = {}
    for backend in arguments.backends.split(","):
        for name in arguments.edits.split(","):
            for num_micro_batches, precision in UNCOMPILED if backend == "none" else UNCOMPILED[:1]:
                settings: dict[str, Any] = {
                    "encoder": arguments.encoder,
                    "data": arguments.data,
                    "micro_batch_size": 8 // arguments.num_processes // num_micro_batches,  # 8 is the batch size
                    "mixed_precision": precision,
                }
                if backend != "none":
                    # One batch for evaluation, since the model is traced again for every shape.
                    settings |= {"compile": True, "compile_backend": backend, "limit_validation": 8}
                if backend != "none" and name != "set_max_length":
                    # Batches of one shape, since tracing takes longest and shapes do not matter for these edits.
                    settings |= {"max_length": 6, "limit_train": 40}
                if CASES[name].needs_decoder:
                    settings |= {"encoder": arguments.decoder, "head": {"name": "mean", "dropout": 0.0}}
                cell = f"{name}-{num_micro_batches}-{precision}-{backend}"
                try:
                    results[cell] = run_cell(CASES[name], settings, arguments.sabotage)
                except Exception:  # run and report the remaining cells too
                    results[cell] = [traceback.format_exc()]
    write_by_rank(arguments.output, results)


if __name__ == "__main__":
    main()
