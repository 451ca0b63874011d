"""Command lines of the scripts that use a trained model, such as predict.py: `SCRIPT RUN --setting value ...`."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from research.settings.arguments import HELP
from research.settings.config import CheckedSettings
from research.settings.declarations import Effect, setting
from research.settings.program import HelpRequest, Program
from research.settings.script_settings import parse_group, split_flags
from research.system.errors import run_script
from research.system.launcher import num_launched_processes

Settings = TypeVar("Settings", bound="ModelScriptSettings")


@dataclass(frozen=True, kw_only=True)
class ModelScriptSettings(CheckedSettings):
    """Model"""

    run: str = setting("", effect=Effect.INVOCATION, input_path=str)
    """Trained model: a run directory, its model/ or best/ folder, or a folder written by export.py. May be given
    without the flag, as the first argument."""
    plugin: list[str] = setting([], effect=Effect.INVOCATION, input_path=str)
    """Your own code that the model needs: a .py file or a module name. May be repeated. By default, the plugins of the
    run."""
    traceback: bool = setting(False, effect=Effect.INVOCATION)
    """Show full tracebacks of errors in your own code."""


@dataclass(frozen=True)
class ModelCommand(Generic[Settings]):
    """A parsed command line of a script that uses a trained model."""

    settings: Settings
    """Settings of the script."""

    @property
    def traceback(self) -> bool:
        """Whether to show full tracebacks of errors in the user's own code."""
        return self.settings.traceback


def model_program(
    script: str, launcher: str, description: str, group: type[ModelScriptSettings], *, models: str = "RUN"
) -> Program:
    """Return the command-line interface of a script that uses a trained model.

    Args:
        script: name of the script, such as predict.py.
        launcher: command that starts it, such as `python experiments/predict.py`.
        description: description in the help.
        group: the dataclass of its settings.
        models: the first arguments, for the usage line.
    """
    required = [f" --{name} ..." for name in _required(group) if name != "run"]
    usage = f"{launcher} {models}{''.join(required)} [--setting value ...]"
    return Program(script, usage, description, (group,), takes_run_settings=False, positional="run")


def run_model_script(
    program: Program, group: type[Settings], execute: Callable[[Settings], int], *, uses_several_processes: bool = False
) -> int:
    """Parse this process's command line, execute it or print the help, and return the exit status.

    Args:
        program: the script's command-line interface.
        group: the dataclass of its settings.
        execute: executes the settings and returns the exit status.
        uses_several_processes: whether `execute` shares the work with the other processes that a launcher started.
            Otherwise, a launch of several processes is refused.
    """

    def execute_command(command: ModelCommand[Settings] | HelpRequest) -> int:
        if isinstance(command, HelpRequest):
            command.program.parser.print_help()
            return 0
        if not uses_several_processes and num_launched_processes() > 1:
            raise ValueError(f"{program.name} uses only one process. Start it with python instead of a launcher.")
        return execute(command.settings)

    return run_script(sys.argv[1:], parser_for(program, group), execute_command)


def parser_for(
    program: Program, group: type[Settings]
) -> Callable[[Sequence[str]], ModelCommand[Settings] | HelpRequest]:
    """Return the function that parses a script's command line.

    The function raises a ValueError for an unknown flag, a wrong value or a missing setting.

    Args:
        program: the script's command-line interface.
        group: the dataclass of its settings. Settings whose default is an empty string are required.
    """

    def parse(arguments: Sequence[str]) -> ModelCommand[Settings] | HelpRequest:
        flags = program.read_flags(arguments)
        if any(flag.name == HELP for flag in flags):
            return HelpRequest(program)
        settings = parse_group(group, split_flags(group, flags)[0])
        for name in _required(group):
            if not getattr(settings, name):
                what = "the run directory or model folder as the first argument" if name == "run" else f"--{name}"
                raise ValueError(f"Expected {what}. Usage: {program.usage}")
        return ModelCommand(settings)

    return parse


def _required(group: type[ModelScriptSettings]) -> list[str]:
    """Return the names of the settings that must be given: those whose default is an empty string."""
    return [item.name for item in dataclasses.fields(group) if item.default == ""]
