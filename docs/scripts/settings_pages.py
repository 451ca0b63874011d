"""Generate the pages of all settings from their declarations."""

from __future__ import annotations

import importlib.util
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, NoneType
from typing import Any

import docstring_parser
import yaml
from site_text import code, heading, link_settings

from research.data.prepare.cache_command import CacheSettings
from research.settings.config import SETTING_GROUPS
from research.settings.declarations import Declaration, Effect, declarations
from research.settings.flags import InspectionSettings, setting_types
from research.settings.model_scripts import ModelScriptSettings
from research.settings.value_types import alternatives
from research.studies.command import StudySettings, WorkerSettings
from research.studies.grid import StudySpec
from research.studies.submission.settings import SubmitSettings

RUN_SETTINGS_PAGE = "settings.md"
"""Link to the page of run.py's settings from other pages of the reference."""
ROOT = Path(__file__).parents[2]
_TYPE_NAMES: dict[Any, str] = {
    str: "string",
    int: "integer",
    float: "number",
    dict: "mapping",
    NoneType: "`null`",
}
"""Names of types, in the terms of YAML."""
_PLURAL_TYPE_NAMES: dict[Any, str] = {str: "strings", int: "integers", float: "numbers", dict: "mappings"}


def settings_page() -> str:
    """Return the page of run.py's settings, grouped as in `--help`."""
    groups = (*SETTING_GROUPS, InspectionSettings)  # the docstring of a group is its title
    links = {group: ", ".join(f"[{code(name)}](#{name})" for name in declarations(group)) for group in groups}
    return "\n".join(
        [
            "# Settings of a run\n",
            "This page describes every setting of a run. You can give a setting as a flag of `run.py`",
            "(`--batch_size 16`), as a key of a recipe (`batch_size: 16`), or as a field of `RunConfig` in Python.",
            "`--recipe FILE.yaml` reads a recipe; it may be repeated, and later recipes override earlier ones. Flags",
            "override recipes, and recipes override defaults. `ablate.py` and `verify_resume.py` accept nearly all of",
            "these settings and use them for all their runs.\n",
            "This page is generated from the declarations in `research/settings/`.\n",
            *(f"- [{group.__doc__}](#{_anchor(group)}): {links[group]}" for group in groups),
            "",
            *(part for group in groups for part in _group_section(group, is_run_setting=True)),
        ]
    )


def study_settings_page() -> str:
    """Return the page of ablate.py's own settings."""
    return "\n".join(
        [
            "# Settings of a study\n",
            "This page describes the settings of `ablate.py`, which runs a study. `ablate.py` accepts the settings in",
            "the first group and [every setting of a run](settings.md), which then applies to all trials.",
            "`ablate.py submit`, which submits a study's workers, also accepts the settings in the second group.",
            "`ablate.py work`, which starts an additional worker, accepts only the settings in the third group.\n",
            "This page is generated from the declarations in `research/studies/`.\n",
            *_group_section(StudySettings),
            *_group_section(SubmitSettings, anchor_prefix="submit-"),
            *_group_section(WorkerSettings, anchor_prefix="work-"),
            *_study_file_section(),
        ]
    )


def verify_settings_page() -> str:
    """Return the page of verify_resume.py's own settings."""
    script = _import_script(ROOT / "experiments" / "verify_resume.py")
    return "\n".join(
        [
            "# Settings of verify_resume.py\n",
            "`verify_resume.py` checks that a resumed run gives the same results as an uninterrupted run. It accepts",
            "the settings on this page and [those of a run](settings.md), except settings such as `--name`,",
            "`--output_dir`, `--resume` and `--dry_run`, which it sets itself or does not use.\n",
            "This page is generated from the declarations in `experiments/verify_resume.py`.\n",
            *_group_section(script.VerifySettings),
        ]
    )


def cache_settings_page() -> str:
    """Return the page of the settings of cache.py."""
    return "\n".join(
        [
            "# Settings of cache.py\n",
            "`cache.py` lists and clears [the cache](../how-to/use-your-own-data.md#the-cache) of prepared rows,",
            "tokens and hidden states.\n",
            *_group_section(CacheSettings),
        ]
    )


def model_script_page(script: str, purpose: str, group: type[ModelScriptSettings]) -> str:
    """Return the page of the settings of a script that uses a trained model.

    Args:
        script: name of the script, such as predict.py.
        purpose: a sentence that says what the script does.
        group: the dataclass of its settings.
    """
    return "\n".join([f"# Settings of {script}\n", f"{purpose}\n", *_group_section(group)])


def describe_type(kind: Any) -> str:
    """Describe a type in terms of YAML, such as "number or `null`" or "`head` or `tail`"."""
    members = [_describe_member(member) for member in alternatives(kind) if member is not bool]
    if bool in alternatives(kind):
        members = ["`true`", "`false`", *members]
    return _join_with_or(members)


def as_yaml(value: Any) -> str:
    """Return a value as it is written in a recipe, on one line."""
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()


def _study_file_section() -> Iterator[str]:
    """Yield the section on the keys of a study file."""
    yield heading(2, "Keys of a study file", "study-file")
    yield "`--study FILE.yaml` reads a YAML file with these keys; `experiments/studies/` contains examples.\n"
    for item in docstring_parser.parse_from_object(StudySpec).params:
        yield f"- **{code(item.arg_name)}**: {' '.join((item.description or '').split())}"
    yield "- **`quick`**: a mapping with the same keys. With [`--quick`](#quick), its values replace those above.\n"


def _import_script(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)  # dataclasses look up their module
    spec.loader.exec_module(module)
    return module


def _anchor(group: type) -> str:
    return "group-" + (group.__doc__ or "").lower().replace(" ", "-")


def _group_section(group: type, *, is_run_setting: bool = False, anchor_prefix: str = "") -> Iterator[str]:
    yield heading(2, group.__doc__ or "", _anchor(group))
    # docstring_parser finds only the docstrings in a class's own body, without those of inherited settings.
    descriptions = {
        item.arg_name: item.description or ""
        for base in group.__mro__[:-1]
        for item in docstring_parser.parse_from_object(base).params
    }
    kinds, defaults = typing.get_type_hints(group), group()
    for name, declared in declarations(group).items():
        yield heading(3, code(f"--{name}"), anchor_prefix + name)
        text = " ".join(descriptions[name].split())
        yield link_settings(text, setting_types(), "" if is_run_setting else RUN_SETTINGS_PAGE) + "\n"
        yield "".join(
            f"- {line}\n"
            for line in _facts_about(kinds[name], getattr(defaults, name), declared, is_run_setting=is_run_setting)
        )


def _facts_about(kind: Any, default: Any, declared: Declaration, *, is_run_setting: bool) -> Iterator[str]:
    yield f"**Type:** {describe_type(kind)}. **Default:** {code(as_yaml(default))}."
    range_and_unit = [f"**Range:** {declared.bounds}."] if declared.bounds is not None else []
    range_and_unit += [f"**Unit:** {declared.unit}."] if declared.unit is not None else []
    if range_and_unit:
        yield " ".join(range_and_unit)
    if not is_run_setting:
        return
    yield f"**If it changes on resume:** {declared.effect.value}."
    if declared.effect is not Effect.INVOCATION:
        reason = declared.why_fixed_in_forks
        fork = "may change it" if reason is None else f"may not change it: {reason}"
        yield f"**A fork** {fork}."
    reason = declared.why_fixed_in_studies
    study = "may vary it" if reason is None else f"may not vary it: {reason}"
    instead = "" if declared.study_alternative is None else f" ({declared.study_alternative})"
    yield f"**A study's grid** {study}{instead}."


def _describe_member(member: Any) -> str:
    if isinstance(member, str):
        return code(member)
    origin = typing.get_origin(member) or member
    if origin in (list, tuple):
        items = alternatives(typing.get_args(member)[0])
        return f"list of {_join_with_or([_PLURAL_TYPE_NAMES[typing.get_origin(item) or item] for item in items])}"
    return _TYPE_NAMES[origin]


def _join_with_or(words: list[str]) -> str:
    """Return words as a list in English, such as "a, b or c"."""
    *first_words, last = words
    return f"{', '.join(first_words)} or {last}" if first_words else last
