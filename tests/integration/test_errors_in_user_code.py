"""An error in a user's own code is reported with the registered name, the time, the exception and the failing line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from heads import HEADS
from heads.registry import Registry
from research.data.prepare.cleaning import CLEANING
from research.edits.base import EDITS
from research.learning.objectives import OBJECTIVES
from research.learning.schedules import SCHEDULES
from research.runner.main import execute
from research.settings.command_line import parse
from research.system.errors import run_script
from research.training.hook import HOOKS

HEAD = """\
from heads import Head, register_head
from torch import nn

@register_head("broken")
class Broken(Head):
"""
HOOK = """\
from research import Hook, register_hook

@register_hook("broken")
class Broken(Hook):
"""
EDIT = """\
from research import register_edit

@register_edit("broken")
"""
OBJECTIVE_CLASS = """\
from torch.nn import functional as F
from research import register_objective
from research.learning.objectives import Objective, ObjectiveOutput

@register_objective("broken")
class Broken(Objective):
"""
OBJECTIVE = f"""\
{OBJECTIVE_CLASS}    def __call__(self, model, batch):
        logits = model(**batch.inputs).logits
        losses = F.cross_entropy(logits.float(), batch.labels, reduction="none")
"""
EDIT_AFTER_STEP_1 = "--timeline={at: 1st, broken: true}"


@dataclass(frozen=True)
class Case:
    """A plugin with an error, and the expected message."""

    code: str
    """Source code of the plugin."""
    message_start: str
    """Beginning of the message: the plugin or registered entry, when the error occurred, and the exception."""
    failing_line: str
    """Line of the plugin that the message shows."""
    flags: tuple[str, ...] = ()
    """Flags that make the run use the registered entry."""


CASES = {
    "syntax": Case("def broken(:\n    pass\n", "plugin 'PLUGIN': SyntaxError: ", "def broken(:"),
    "import": Case(
        "import no_such_module\n", "plugin 'PLUGIN': ModuleNotFoundError: No module ", "import no_such_module"
    ),
    "exit in a plugin": Case("import sys\nsys.exit(0)\n", "plugin 'PLUGIN': ValueError: The plugin", "sys.exit(0)"),
    "head without base": Case(
        HEAD + "    def __init__(self, encoder, num_labels):\n        self.out = nn.Linear(encoder.hidden_size, 2)\n",
        "head 'broken', before training: AttributeError: cannot assign module",
        "self.out = nn.Linear(encoder.hidden_size, 2)",
        ("--head=broken",),
    ),
    "head's sizes": Case(
        HEAD + "    def __init__(self, encoder, num_labels):\n"
        "        super().__init__()\n        self.out = nn.Linear(7, num_labels)\n"
        "    def forward(self, hidden_states, attention_mask):\n        return self.out(hidden_states[:, 0])\n",
        "head 'broken', before training: RuntimeError: mat1 and mat2",
        "return self.out(hidden_states[:, 0])",
        ("--head=broken",),
    ),
    "head's parameters": Case(
        HEAD + "    def __init__(self, hidden_size):\n        super().__init__()\n",
        "head 'broken', before training: TypeError: ",
        "def __init__(self, hidden_size):",
        ("--head=broken",),
    ),
    "head's inputs": Case(
        HEAD + "    def __init__(self, encoder, num_labels):\n        super().__init__()\n"
        "    def forward(self, hidden_states):\n        return hidden_states\n",
        "head 'broken', before training: TypeError: ",
        "def forward(self, hidden_states):",
        ("--head=broken",),
    ),
    "hook in a step": Case(
        HOOK + "    def before_step(self, run):\n        {}['loss']\n",
        "hook 'broken' (before_step), in step 1: KeyError: 'loss'",
        "{}['loss']",
        ("--hook=broken",),
    ),
    "hook after a step": Case(
        HOOK + "    def after_step(self, run):\n        run.edit.unfreze('encoder')\n",
        "hook 'broken' (after_step), after step 1: UnknownNameError: Unknown edit 'unfreze'. Did you mean 'unfreeze'?",
        "run.edit.unfreze('encoder')",
        ("--hook=broken",),
    ),
    "exit in a hook": Case(
        "import sys\n" + HOOK + "    def after_step(self, run):\n        sys.exit(0)\n",
        "hook 'broken' (after_step), after step 1: SystemExit: 0",
        "sys.exit(0)",
        ("--hook=broken",),
    ),
    "exit in an edit": Case(
        "import sys\n" + EDIT + "def broken(run):\n    sys.exit('enough')\n",
        "edit 'broken' (timeline entry 1), before training: SystemExit: enough",
        "sys.exit('enough')",
        (EDIT_AFTER_STEP_1,),
    ),
    "hook's parameters": Case(
        HOOK + "    def after_step(self):\n        pass\n",
        "hook 'broken' (after_step), after step 1: TypeError: ",
        "def after_step(self):",
        ("--hook=broken",),
    ),
    "edit": Case(
        EDIT + "def broken(run):\n    run.config.to_dict()['missing']\n",
        "edit 'broken' (timeline entry 1), before training: KeyError: 'missing'",
        "run.config.to_dict()['missing']",
        (EDIT_AFTER_STEP_1,),
    ),
    "refused call in an edit": Case(
        EDIT + "def broken(run):\n    run.log({'loss': 0.0})\n",
        "edit 'broken' (timeline entry 1), before training: EditError: After step 1, broken()",
        "run.log({'loss': 0.0})",
        (EDIT_AFTER_STEP_1,),
    ),
    "objective": Case(
        OBJECTIVE + "        return ObjectiveOutput(losses[99], logits)\n",
        "objective 'broken', in step 1: IndexError: ",
        "return ObjectiveOutput(losses[99], logits)",
        ("--objective=broken",),
    ),
    "schedule": Case(
        "from torch.optim.lr_scheduler import LambdaLR\nfrom research import register_schedule\n"
        "@register_schedule('broken')\ndef broken(optimizer, *, num_warmup_steps, num_training_steps):\n"
        "    return LambdaLR(optimizer, lambda step: 1 // (1 - step))\n",
        "schedule 'broken', in step 1: ZeroDivisionError: ",
        "return LambdaLR(optimizer, lambda step: 1 // (1 - step))",
        ("--schedule=broken", "--max_steps=3"),
    ),
    "cleaning step": Case(
        "from research import register_cleaning\n@register_cleaning('broken')\ndef broken(text):\n"
        "    return text.lowr()\n",
        "cleaning step 'broken', before training: AttributeError: ",
        "return text.lowr()",
        ("--cleaning=broken",),
    ),
}

RunPlugin = Callable[..., tuple[int, str]]
"""Function that runs run.py with the code of a plugin and further flags, and returns the exit status and stderr."""


@pytest.fixture
def isolated_registries() -> Iterator[None]:
    """After the test, remove the entries that plugins registered."""
    registries: tuple[Registry[Any], ...] = (HEADS, HOOKS, EDITS, OBJECTIVES, SCHEDULES, CLEANING)
    with ExitStack() as stack:
        for registry in registries:
            stack.enter_context(registry.isolated())
        yield


@pytest.fixture
def run_plugin(
    tiny_encoder: Path,
    tiny_reviews: Path,
    cache_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    isolated_registries: None,
) -> RunPlugin:
    """A function that runs run.py in this process: `run_plugin(code, "--head=broken")`."""
    monkeypatch.setenv("MIDWAY_CACHE", str(cache_dir))

    def run(code: str, *extra_flags: str) -> tuple[int, str]:
        plugin = tmp_path / "my_plugin.py"
        plugin.write_text(code)
        flags = [f"--encoder={tiny_encoder}", f"--data={tiny_reviews}", "--max_length=32", "--batch_size=8"]
        flags += ["--max_steps=2", "--mixed_precision=no", "--num_threads=1", f"--output_dir={tmp_path / 'run'}"]
        capsys.readouterr()
        status = run_script([*flags, "--log_with=[]", f"--plugin={plugin}", *extra_flags], parse, execute)
        return status, capsys.readouterr().err

    return run


@pytest.mark.parametrize("name", CASES)
def test_error_in_user_code_is_reported_with_the_registered_name_and_the_failing_line(
    run_plugin: RunPlugin, tmp_path: Path, name: str
) -> None:
    case, plugin = CASES[name], str(tmp_path / "my_plugin.py")
    status, printed = run_plugin(case.code, *case.flags)
    lines = printed.splitlines()
    assert status == 1
    assert lines[0].startswith(f"error: {case.message_start.replace('PLUGIN', plugin)}"), lines
    (line_number,) = [n for n, line in enumerate(case.code.splitlines(), 1) if case.failing_line in line]
    assert lines[1].startswith(f'  File "{plugin}", line {line_number}')
    assert lines[2].strip() == case.failing_line
    (hint,) = lines[3:]
    assert hint.startswith("(--traceback ")


def test_traceback_flag_shows_the_traceback(run_plugin: RunPlugin) -> None:
    _, printed = run_plugin("import no_such_module\n", "--traceback")
    assert printed.startswith("Traceback (")
    assert "error: plugin" in printed
    assert "--traceback" not in printed


def test_error_in_the_code_of_midway_keeps_its_traceback(
    run_plugin: RunPlugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    # json.loads does not accept the arguments of create_optimizer.
    monkeypatch.setattr("research.runner.set_up.create_optimizer", json.loads)
    with pytest.raises(TypeError):
        run_plugin("")


BATCH_HOOK = HOOK + "    def on_batch(self, run, batch):\n        return {}\n"


@pytest.mark.parametrize(
    ("code", "option", "expected_text"),
    [
        # PyTorch would broadcast the first two losses with the row weights without an error.
        (OBJECTIVE + "        return ObjectiveOutput(losses.mean(), logits)\n", "objective", "of shape [8]; got []"),
        (OBJECTIVE + "        return ObjectiveOutput(losses[:, None], logits)\n", "objective", "[8]; got [8, 1]"),
        (OBJECTIVE + "        return ObjectiveOutput(losses, logits[:, :1])\n", "objective", "[8, 2]; got [8, 1]"),
        (OBJECTIVE + "        return ObjectiveOutput(losses.detach(), logits)\n", "objective", "have no gradient"),
        (OBJECTIVE + "        return losses\n", "objective", "Expected an ObjectiveOutput"),
        (
            OBJECTIVE_CLASS + "    def __init__(self, task):\n        self.my_task = task\n",
            "objective",
            "super().__init__(task)",
        ),
        (BATCH_HOOK.format("batch.inputs"), "hook", "got dict"),
        (BATCH_HOOK.format("type(batch)(batch.inputs, batch.labels, batch.weights[:3], batch.ids)"), "hook", "3 rows"),
        (HEAD + "    def __init__(self, encoder, num_labels):\n        pass\n", "head", "super().__init__()"),
        (
            HEAD + "    def __init__(self, encoder, num_labels):\n        super().__init__()\n",
            "head",
            "has no method forward",
        ),
        (
            HEAD + "    def __init__(self, encoder, num_labels):\n        super().__init__()\n"
            "    def forward(self, hidden_states, attention_mask):\n        return hidden_states\n",
            "head",
            "Expected logits of shape [4, 2]",
        ),
        (
            "from research import register_schedule\n@register_schedule('broken')\n"
            "def broken(optimizer, *, num_warmup_steps, num_training_steps):\n    return None\n",
            "schedule",
            "got NoneType",
        ),
    ],
)
def test_invalid_classes_and_return_values_of_user_code_are_reported(
    run_plugin: RunPlugin, tmp_path: Path, code: str, option: str, expected_text: str
) -> None:
    status, printed = run_plugin(code, f"--{option}=broken")
    assert (status, printed.count("\n")) == (1, 1)
    assert expected_text in printed
    assert "broken" in printed
    assert str(tmp_path / "my_plugin.py") in printed


def test_result_of_a_failed_run_records_the_printed_error(run_plugin: RunPlugin, tmp_path: Path) -> None:
    _, printed = run_plugin(HOOK + "    def after_step(self, run):\n        {}['loss']\n", "--hook=broken")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["status"] == "failed"
    assert re.fullmatch(rf"error: {re.escape(result['error'])}\n\(--traceback .*\)\n", printed)
