"""The command-line interface of each script, and requests for its help."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints

from jsonargparse import ArgumentParser, set_parsing_settings

from research.settings.arguments import Flag, read_flags
from research.settings.config import SETTING_GROUPS
from research.settings.declarations import declarations
from research.settings.flags import SETTINGS_WITH_OPTIONS, InspectionSettings, setting_types
from research.system.scripts import launch_command

set_parsing_settings(docstring_parse_attribute_docstrings=True)


@dataclass(frozen=True)
class Program:
    """A script with its settings."""

    name: str
    """Name of the script."""
    usage: str
    """Usage line of the help."""
    description: str
    """Description in the help."""
    extra_groups: tuple[type, ...] = ()
    """Groups of settings of the script itself; the help shows them before the settings of a run."""
    takes_run_settings: bool = True
    """Whether the script accepts recipes and the settings of a run."""
    positional: str | None = None
    """Setting of the script to which the first argument belongs if it is not a flag; if the setting takes several
    values, all arguments up to the first flag."""

    @functools.cached_property
    def flag_types(self) -> dict[str, Any]:
        """The type of every flag by its name."""
        run_flag_types = {**setting_types(), "recipe": str | None} if self.takes_run_settings else {}
        return {
            **run_flag_types,
            **{name: type_hint for group in self.extra_groups for name, type_hint in get_type_hints(group).items()},
        }

    def read_flags(self, arguments: Sequence[str]) -> list[Flag]:
        """Return the flags of a command line.

        Raises:
            ValueError: see `research.settings.arguments.read_flags`.
        """
        with_several_values = [
            name
            for group in self.extra_groups
            for name, declared in declarations(group).items()
            if declared.takes_several_values
        ]
        with_options = SETTINGS_WITH_OPTIONS if self.takes_run_settings else ()
        return read_flags(
            arguments,
            self.flag_types,
            with_options=with_options,
            with_several_values=with_several_values,
            positional=self.positional,
        )

    @functools.cached_property
    def parser(self) -> ArgumentParser:
        """The parser, built once, with one group of flags for each group of settings."""
        parser = ArgumentParser(
            prog=self.name,
            usage=self.usage,
            description=self.description,
            exit_on_error=False,
            print_config=None,
            allow_abbrev=False,
        )
        groups = self.extra_groups
        if self.takes_run_settings:
            parser.add_argument(
                "--recipe", type=str | None, help="YAML file with any of these settings; flags override it"
            )
            groups += (*SETTING_GROUPS, InspectionSettings)
        for group in groups:
            parser.add_class_arguments(group)
        return parser


@dataclass(frozen=True)
class HelpRequest:
    """A request for help, and what the help shows in addition to the settings."""

    program: Program
    """The script."""
    chosen: tuple[tuple[str, str], ...] = ()
    """Kind (head, objective, peft, schedule, hook) and name of each choice whose options the help lists."""
    plugins: tuple[str, ...] = ()
    """Plugins to import, so that the help can list the options of their entries."""
    traceback: bool = False
    """Whether to show tracebacks of errors in the user's code."""


RUN = Program(
    "run.py",
    f"{launch_command()} [--recipe FILE.yaml] [--setting value ...]",
    "Fine-tune a pretrained encoder with a head of your choice. --head NAME --help adds that head's options; --list "
    "heads shows all heads.",
)
"""The command-line interface of run.py."""
