"""Unfreeze two layers in mid-epoch with Transformers' Trainer, Lightning and Midway, on one and two processes.

    python experiments/benchmarks/unfreeze_on_two_processes.py

Every arm trains the same encoder with a linear head on the same reviews with AdamW. The encoder is frozen at first; its
last two layers are unfrozen in the middle of the first epoch. After every step, each process records hashes of its
gradients and parameters in its own file. The script compares the files afterwards, so that measuring needs no
communication. Processes get different batches, so their gradients differ unless DDP averages them.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from throughput import read_rows, write_rows

ENCODER = "minilm"
LAYERS = "encoder.layer[-2:]"
"""Selector of the layers that are unfrozen."""
UNFREEZE_AFTER = 6
"""Number of steps with a frozen encoder."""
NUM_ROWS = 256
MAX_LENGTH = 64
BATCH_SIZE = 16
"""Rows per step, over all processes."""
PEAK_RATE = 1e-4
"""Learning rate of both the layers and the head."""
CONFIG = Path(__file__).parents[2] / "accelerate_configs" / "cpu_2_processes.yaml"
HEADER = """\
| arm | processes | ends | tensors of the two layers that changed | frozen tensors that changed \
| steps in which the layers' gradients were not averaged | replicas at the end | the layers' rate / the head's |
|---|---|---|---|---|---|---|---|"""


class StepRecorder:
    """Records hashes of the gradients and parameters of this process's replica after every step.

    Args:
        folder: folder for the file with the records of this process.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"rank-{os.environ.get('LOCAL_RANK', '0')}.jsonl"
        self.step = 0
        self.step_values: dict[str, Any] = {}

    def remember_initial_values(self, model: Any) -> None:
        """Copy the values of all parameters before training."""
        from research.model.selectors import select_parameters

        self.parameters = dict(model.named_parameters())
        self.layers = select_parameters(model, LAYERS)
        self.initial_values = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}

    def before_step(self, optimizer: Any) -> None:
        """Remember a hash of the two layers' gradients, and learning rates, just before the optimizer steps."""
        import torch

        rates = {parameter: group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
        head = next(parameter for name, parameter in self.parameters.items() if name.startswith("head."))
        gradients = [parameter.grad for parameter in self.layers.values() if parameter.grad is not None]
        self.step_values = {
            "world_size": torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1,
            "gradients": digest(gradients) if gradients else None,
            "rates": sorted({rates[parameter] for parameter in self.layers.values() if parameter in rates}),
            "head_rate": rates[head],
        }

    def after_step(self) -> None:
        """Write the values remembered in `before_step` and a hash of the parameters to the file."""
        self.step += 1
        self.write({"step": self.step, **self.step_values, "parameters": digest(self.parameters.values())})

    def finish(self) -> None:
        """Record which parameters changed, and save all parameters."""
        from safetensors.torch import save_file

        changed = {
            name for name, parameter in self.parameters.items() if not parameter.equal(self.initial_values[name])
        }
        frozen = {name for name in self.parameters if name not in self.layers and not name.startswith("head.")}
        trained = f"{len(changed & self.layers.keys())} of {len(self.layers)}"
        self.write({"trained": trained, "changed": f"{len(changed & frozen)} of {len(frozen)}"})
        save_file({name: p.detach().clone() for name, p in self.parameters.items()}, self.path.with_suffix(".st"))

    def write(self, line: dict[str, Any]) -> None:
        """Append a line to this process's file."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def digest(tensors: Iterable[Any]) -> str:
    """Return a hash of the bits of some tensors."""
    sha256 = hashlib.sha256()
    for tensor in tensors:
        sha256.update(tensor.detach().contiguous().numpy())
    return sha256.hexdigest()


def train_with_midway(recorder: StepRecorder, folder: Path, num_processes: int) -> None:
    """Train with Midway and a timeline of one edit."""
    from research import Hook, RunConfig, run_experiment
    from research.training.api import Run

    class RecordSteps(Hook):
        def on_train_start(self, run: Run) -> None:
            recorder.remember_initial_values(run.encoder_with_head)

        def before_step(self, run: Run) -> None:
            recorder.before_step(run.optimizer)

        def after_step(self, run: Run) -> None:
            recorder.after_step()

    config = RunConfig(
        freeze=["encoder"],
        timeline=[{"at": f"{UNFREEZE_AFTER}st", "unfreeze": LAYERS}],
        data=str(folder),
        encoder=ENCODER,
        max_length=MAX_LENGTH,
        batch_size=BATCH_SIZE,
        lr=PEAK_RATE,
        head_lr=PEAK_RATE,
        layer_decay=1.0,
        schedule="linear",
        warmup="0st",  # 0 steps: no warm-up
        mixed_precision="no",
        evaluate_every=None,
        output_dir=str(folder / "midway"),
    )
    run_experiment(config, hooks=[RecordSteps()])


def train_with_trainer(
    recorder: StepRecorder,
    folder: Path,
    num_processes: int,
    *,
    freezes_late: bool,
    all_parameters: bool = False,
    **options: Any,
) -> None:
    """Train with Transformers' Trainer, its default linear schedule, and a callback that sets requires_grad.

    The Trainer's default for DDP's find_unused_parameters is True.

    Args:
        recorder: records each step.
        folder: folder that holds the rows and receives the output.
        num_processes: number of processes.
        freezes_late: whether the callback freezes the encoder only after the optimizer and DDP have been created.
        all_parameters: whether the Trainer gets an optimizer for all parameters. The optimizer that it creates itself
            has only the parameters that require gradients.
        options: further options of TrainingArguments.
    """
    import torch
    from transformers import DataCollatorWithPadding, Trainer, TrainerCallback, TrainingArguments

    class Unfreeze(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            if freezes_late:
                model.encoder.requires_grad_(False)

        def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            if state.global_step == UNFREEZE_AFTER:
                model.encoder.encoder.layer[-2:].requires_grad_(True)

    class RecordSteps(TrainerCallback):
        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, optimizer: Any = None, **_: Any) -> None:
            recorder.before_step(optimizer)

        def on_step_end(self, *_: Any, **__: Any) -> None:
            recorder.after_step()

    model, rows, tokenizer = load_parts(folder)
    recorder.remember_initial_values(model)
    if not freezes_late:
        model.encoder.requires_grad_(False)
    arguments = TrainingArguments(
        output_dir=str(folder / "trainer"),
        per_device_train_batch_size=BATCH_SIZE // num_processes,
        num_train_epochs=1,
        learning_rate=PEAK_RATE,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        **options,
    )
    Trainer(
        model=model,
        args=arguments,
        train_dataset=rows,
        data_collator=DataCollatorWithPadding(tokenizer),
        callbacks=[RecordSteps(), Unfreeze()],
        optimizers=(torch.optim.AdamW(model.parameters(), lr=PEAK_RATE) if all_parameters else None, None),
    ).train()


def train_with_lightning(
    recorder: StepRecorder,
    folder: Path,
    num_processes: int,
    *,
    callback: str,
    strategy: str = "ddp",
    schedule: bool = False,
) -> None:
    """Train with Lightning and a callback that unfreezes the layers.

    Args:
        recorder: records each step.
        folder: folder that holds the rows and receives the output.
        num_processes: number of processes.
        callback: kind of callback. `BackboneFinetuning` unfreezes only between epochs, here before the second of two.
            `BaseFinetuning` stands for a subclass of it that unfreezes in mid-epoch. `Callback` stands for a subclass
            that sets requires_grad, and freezes only after the optimizer and DDP have been created.
        strategy: Lightning's strategy for several processes.
        schedule: whether to use Transformers' linear schedule. Otherwise the rate is constant, as in the documentation
            of BackboneFinetuning and BaseFinetuning.
    """
    import torch
    from lightning.pytorch import Callback, LightningModule, Trainer
    from lightning.pytorch.callbacks import BackboneFinetuning, BaseFinetuning
    from transformers import DataCollatorWithPadding, get_linear_schedule_with_warmup

    model, rows, tokenizer = load_parts(folder)
    recorder.remember_initial_values(model)
    collate = DataCollatorWithPadding(tokenizer)
    loader = torch.utils.data.DataLoader(rows, BATCH_SIZE // num_processes, shuffle=True, collate_fn=collate)

    class Classifier(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.backbone = model.encoder.encoder.layer[-2:]
            if callback == "BackboneFinetuning":
                model.encoder.requires_grad_(False)  # the callback freezes only `backbone`

        def training_step(self, batch: Any, batch_index: int) -> Any:
            return self.model(**batch).loss

        def configure_optimizers(self) -> Any:
            trainable = filter(lambda parameter: parameter.requires_grad, self.parameters())
            optimizer = torch.optim.AdamW(trainable, lr=PEAK_RATE)
            if not schedule:
                return optimizer
            linear_schedule = get_linear_schedule_with_warmup(optimizer, 0, NUM_ROWS // BATCH_SIZE)
            return [optimizer], [{"scheduler": linear_schedule, "interval": "step"}]

    class UnfreezeMidEpoch(BaseFinetuning):
        def freeze_before_training(self, pl_module: Any) -> None:
            self.freeze(pl_module.model.encoder)

        def finetune_function(self, pl_module: Any, epoch: int, optimizer: Any) -> None:
            """Do nothing at the start of an epoch: unfreezing happens in mid-epoch."""

        def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            if trainer.global_step == UNFREEZE_AFTER:
                optimizer = trainer.optimizers[0]
                self.unfreeze_and_add_param_group(pl_module.backbone, optimizer, lr=optimizer.param_groups[0]["lr"])

    class FreezeLate(Callback):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            pl_module.model.encoder.requires_grad_(False)

        def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
            if trainer.global_step == UNFREEZE_AFTER:
                pl_module.backbone.requires_grad_(True)

    class RecordSteps(Callback):
        def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
            recorder.before_step(optimizer)

        def on_train_batch_end(self, *_: Any) -> None:
            recorder.after_step()

    unfreeze_per_epoch = BackboneFinetuning(unfreeze_backbone_at_epoch=1)
    Trainer(
        max_epochs=2 if callback == "BackboneFinetuning" else 1,
        accelerator="cpu",
        devices=num_processes,
        strategy=strategy if num_processes > 1 else "auto",
        callbacks=[
            RecordSteps(),
            {"BackboneFinetuning": unfreeze_per_epoch, "BaseFinetuning": UnfreezeMidEpoch(), "Callback": FreezeLate()}[
                callback
            ],
        ],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    ).fit(Classifier(), loader)


trainer_freezing_early = partial(train_with_trainer, freezes_late=False)
trainer_freezing_late = partial(train_with_trainer, freezes_late=True)
backbone_finetuning, base_finetuning, plain_callback = (
    partial(train_with_lightning, callback=c) for c in ("BackboneFinetuning", "BaseFinetuning", "Callback")
)
FIND_UNUSED = "ddp_find_unused_parameters_true"
ARMS: dict[str, Callable[[StepRecorder, Path, int], None]] = {
    "Trainer: callback": trainer_freezing_early,
    "Trainer: callback, optimizer of all parameters": partial(trainer_freezing_early, all_parameters=True),
    "Trainer: callback, freezes in on_train_begin": trainer_freezing_late,
    "Trainer: same, ddp_find_unused_parameters=False": partial(trainer_freezing_late, ddp_find_unused_parameters=False),
    "Lightning: BackboneFinetuning, per epoch": backbone_finetuning,
    "Lightning: BaseFinetuning": base_finetuning,
    "Lightning: BaseFinetuning, ddp_find_unused_parameters_true": partial(base_finetuning, strategy=FIND_UNUSED),
    "Lightning: BaseFinetuning, Transformers' linear schedule": partial(base_finetuning, schedule=True),
    "Lightning: callback, freezes in on_train_start, linear schedule": partial(plain_callback, schedule=True),
    "Lightning: same, ddp_find_unused_parameters_true": partial(plain_callback, schedule=True, strategy=FIND_UNUSED),
    "Midway: timeline": train_with_midway,
}
LAUNCHERS = {
    "Trainer": ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"),
    "Lightning": (),  # Lightning starts the second process itself
    "Midway": ("-m", "accelerate.commands.launch", "--config_file", str(CONFIG)),
}


def load_parts(folder: Path) -> tuple[Any, Any, Any]:
    """Return the model, the tokenized rows, and the tokenizer."""
    import torch
    from datasets import Dataset

    from research.data.prepare.load import load_splits
    from research.model.build_model import build_model
    from research.model.encoders import load_tokenizer
    from research.settings.config import DataSettings, RunConfig
    from research.system.messages import messages_muted

    with messages_muted():
        task = load_splits(DataSettings(data=str(folder))).task
    torch.manual_seed(0)
    model = build_model(RunConfig(encoder=ENCODER, max_length=MAX_LENGTH), task)
    tokenizer = load_tokenizer(ENCODER)
    rows = list(read_rows(folder))
    encoded = tokenizer([row["text"] for row in rows], truncation=True, max_length=MAX_LENGTH)
    labels = [int(row["label"] == "pos") for row in rows]
    # from_pretrained sets evaluation mode, which Lightning keeps.
    return model.train(), Dataset.from_dict({**encoded, "labels": labels}), tokenizer


def launch(arm: str, num_processes: int, folder: Path, time_limit: float) -> str | None:
    """Launch an arm in the way usual for its framework; return a description of its failure, or None if it succeeds."""
    launcher = LAUNCHERS[arm.split(":", maxsplit=1)[0]] if num_processes > 1 else ()
    arguments = (__file__, "--arm", arm, "--num_processes", str(num_processes), "--folder", str(folder))
    with (folder / "output.txt").open("w+", encoding="utf-8") as output:
        process = subprocess.Popen(
            (sys.executable, *launcher, *arguments), stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            status = process.wait(time_limit)
        except subprocess.TimeoutExpired:
            process.terminate()  # torchrun stops its workers, which have their own sessions, within 30 seconds
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(40)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # remaining processes, such as Lightning's second one
            return f"hangs, stopped after {time_limit:.0f} s"
        output.seek(0)
        return f"exit status {status}: {output.read().strip()[-2000:]}" if status else None


def table_row(arm: str, num_processes: int, folder: Path, failure: str | None) -> str:
    """Return an arm's row of the table, computed from the files of its processes."""
    lines_by_process = [
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for path in sorted(folder.glob("rank-*.jsonl"))
    ]
    steps_by_process = [[line for line in lines if "step" in line] for lines in lines_by_process]
    world_sizes = sorted({line["world_size"] for lines in steps_by_process for line in lines})
    process_cell = (
        str(num_processes)
        if world_sizes in ([], [num_processes])
        else f"{num_processes}, which report a world size of {world_sizes}"
    )
    if failure or len(lines_by_process) != num_processes:
        errors = [line["error"] for lines in lines_by_process for line in lines if "error" in line]
        reasons = errors or [
            failure or f"expected the files of {num_processes} processes, found {len(lines_by_process)}"
        ]
        step_text = f"in step {1 + min(map(len, steps_by_process), default=0)}"
        print(f"{arm}, {num_processes} processes, {step_text}: {' / '.join(dict.fromkeys(reasons))}")
        return f"| {arm} | {process_cell} | {step_text}: {textwrap.shorten(reasons[0], 80)} | | | | | |"
    ends = [lines[-1] for lines in lines_by_process]
    trained, changed = (" / ".join(dict.fromkeys(end[key] for end in ends)) for key in ("trained", "changed"))
    trained_steps = [line for line in steps_by_process[0] if line["gradients"]]
    rates = ", ".join(f"{rate / first['head_rate']:.3g}" for first in trained_steps[:1] for rate in first["rates"])
    not_averaged, replicas = "", ""
    if num_processes > 1:
        pairs = list(zip(*steps_by_process, strict=True))
        not_averaged = (
            f"{sum(first['gradients'] != second['gradients'] for first, second in pairs)} of {len(trained_steps)}"
        )
        differing_steps = (first["step"] for first, second in pairs if first["parameters"] != second["parameters"])
        first_differing_step = next(differing_steps, None)
        replicas = (
            "equal"
            if first_differing_step is None
            else f"differ from step {first_differing_step} on, by up to {largest_difference(folder):.1g}"
        )
    cells = [
        arm,
        process_cell,
        f"after step {len(steps_by_process[0])}",
        trained,
        changed,
        not_averaged,
        replicas,
        rates or "not in optimizer",
    ]
    return f"| {' | '.join(cells)} |"


def largest_difference(folder: Path) -> float:
    """Return the largest difference between the parameters of the two processes."""
    from safetensors.torch import load_file

    first, second = (load_file(folder / f"rank-{rank}.st") for rank in (0, 1))
    return max((first[name] - second[name]).abs().max().item() for name in first)


def main() -> None:
    """Run the arms, and print the table; or run one arm in this process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS), help="arms to run (default: all)")
    parser.add_argument(
        "--processes",
        type=int,
        nargs="+",
        choices=[1, 2],
        default=[1, 2],
        help="numbers of processes to run each arm on (default: 1 2)",
    )
    parser.add_argument("--limit", type=float, default=300, help="time limit of an arm, in seconds (default: 300)")
    parser.add_argument("--arm", choices=list(ARMS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--num_processes", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm:
        recorder = StepRecorder(options.folder)
        try:
            ARMS[options.arm](recorder, options.folder, options.num_processes)
        except Exception as error:
            recorder.write({"error": f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"})
            raise
        recorder.finish()
        return
    print(", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "accelerate", "lightning")))
    table = [HEADER]
    with tempfile.TemporaryDirectory() as parent:
        (rows := Path(parent) / "rows").mkdir()
        write_rows(rows, NUM_ROWS)
        for arm in options.arms:
            for num_processes in options.processes:
                folder = Path(parent) / f"run-{len(table)}"
                shutil.copytree(rows, folder)
                failure = launch(arm, num_processes, folder, options.limit)
                table.append(table_row(arm, num_processes, folder, failure))
                print(table[-1], flush=True)
    print("\n" + "\n".join(table))


if __name__ == "__main__":
    main()
