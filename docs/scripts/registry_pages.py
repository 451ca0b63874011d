"""Generate the pages of the registries, with the summary, source, options and file of each entry."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docstring_parser
from settings_pages import as_yaml, describe_type
from site_text import code, heading, link_settings

from heads.registry import Registry
from research.edits.base import TOUCHES, arguments_of
from research.settings.flags import setting_types
from research.settings.options import Option, options_of
from research.settings.registries import STEP_COUNT_PARAMETERS, load_registry

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class RegistryPage:
    """A page with the entries of one registry."""

    listing: str
    """Name of the registry for --list."""
    title: str
    """Heading of the page."""
    introduction: str
    """First paragraph: what the entries are, and how to choose one."""
    parameter_kind: str = "Option"
    """What a parameter of an entry is called on the page: Option or Argument."""


REGISTRY_PAGES = {
    "heads": RegistryPage(
        "heads",
        "Heads",
        "A head turns the encoder's hidden states into logits. Choose one with `--head lstm`; its options follow as "
        "`--head.lstm_size 128`. In a recipe: `head: {name: lstm, lstm_size: 128}`.",
    ),
    "hooks": RegistryPage(
        "hooks",
        "Hooks",
        "A hook is an object whose methods the training loop calls at fixed points. Add one with `--hook ema`, and "
        "several by repeating the flag; options follow as `--hook.ema.decay 0.999`. In a recipe: "
        "`hook: [{name: ema, decay: 0.999}]`.",
    ),
    "edits": RegistryPage(
        "edits",
        "Edits",
        "An edit changes the model, or how it is trained, between two steps. A timeline lists edits with the time at "
        'which each is applied: `--timeline "{at: 50%, unfreeze: encoder}"`. The value after the name of an edit is '
        "its first argument, or a mapping of its arguments (`{at: 400st, set_lr: {lr: 1e-5, modules: head}}`), or "
        "`true` if it has no arguments.",
        "Argument",
    ),
    "objectives": RegistryPage(
        "objectives",
        "Objectives",
        "An objective computes the loss of each row. Choose one with `--objective focal`; its options follow as "
        "`--objective.gamma 3`. By default, the [task](tasks.md) determines the objective.",
    ),
    "optimizers": RegistryPage(
        "optimizers",
        "Optimizers",
        "An optimizer turns gradients into steps. Choose one with `--optimizer lion`; its options follow as "
        "`--optimizer.beta1 0.95`. In a recipe: `optimizer: {name: lion, beta1: 0.95}`. The edit `set_optimizer` "
        "changes it during a run.",
    ),
    "schedules": RegistryPage(
        "schedules",
        "Schedules",
        "A schedule multiplies every learning rate by a factor that changes from step to step. Choose one with "
        "`--schedule cosine`; its options follow as `--schedule.num_cycles 1`. --warmup sets the warm-up's length.",
    ),
    "tasks": RegistryPage(
        "tasks",
        "Tasks",
        "A task defines what is predicted (one label, several labels or a number), how labels are read, and the "
        "metrics. By default, Midway guesses the task from the labels; `--task` sets it.",
    ),
    "data-sources": RegistryPage(
        "data",
        "Data sources",
        "A data source reads one kind of data. --data accepts the name of a packaged data set, a file or a folder. "
        "The format of a file or folder is recognised from its name and contents.",
    ),
    "cleaning": RegistryPage(
        "cleaning",
        "Cleaning steps",
        "A cleaning step is a function that changes texts before they are tokenized. The chosen steps are applied to "
        "every text, in the given order: `--cleaning strip_html,lowercase`.",
    ),
    "encoders": RegistryPage(
        "encoders",
        "Packaged encoders",
        "These encoders come in Python packages, so that they need no download: `--encoder minilm`. --encoder also "
        "accepts a local directory or an id on the Hugging Face Hub.",
    ),
}
"""The pages by file name, without the suffix."""


def registry_page(page: RegistryPage, names: Sequence[str] | None = None) -> str:
    """Return a page with the given entries of a registry; by default, with all entries."""
    registry = load_registry(page.listing)
    entry_names = list(registry) if names is None else names
    links = ", ".join(f"[{code(name)}](#{name})" for name in entry_names)
    return "\n".join(
        [
            f"# {page.title}\n",
            link_settings(page.introduction, setting_types(), "settings.md") + "\n",
            f"This page is generated from the registry, which contains {links}. `run.py --list {page.listing}` prints "
            "the same list, including the entries that your own plugins add.\n",
            *(part for name in entry_names for part in _entry_section(page, registry, name)),
        ]
    )


def _entry_section(page: RegistryPage, registry: Registry[Any], name: str) -> Iterator[str]:
    entry = registry[name]
    yield heading(2, code(name), name)
    text = docstring_parser.parse(inspect.getdoc(entry) or "")
    assert text.short_description, f"{page.listing} {name} has no docstring"
    yield text.short_description + "\n"
    for paragraph in (text.long_description or "").split("\n\n"):
        unwrapped = " ".join(paragraph.split())
        yield unwrapped.replace("Source: ", "**Source:** ", 1).replace(" Differs: ", "\n\n**Differs:** ") + "\n"
    yield from _facts_about(page, entry, name)
    if page.listing == "edits":
        options = arguments_of(name)
    else:
        options = options_of(entry, supplied_parameters=STEP_COUNT_PARAMETERS)
    # The parameters of these entries are not options that users can set.
    if options and page.listing not in ("tasks", "data", "cleaning", "encoders"):
        yield f"{page.parameter_kind}s:\n"
        yield "".join(f"- {_describe_option(option, name)}\n" for option in options)


def _facts_about(page: RegistryPage, entry: Any, name: str) -> Iterator[str]:
    """Yield the declared facts of an entry, besides its options, and the path of its code."""
    facts = []
    if page.listing == "heads":
        facts.append(f"Reads {'the last layer' if entry.wants == 'last_hidden_state' else 'all layers'}.")
    elif page.listing == "edits":
        facts.append(f"Touches: {TOUCHES[name]}.")
    elif page.listing == "objectives":
        tasks = [f"[{code(task)}](tasks.md#{task})" for task in _tasks_of_objective(name)]
        facts.append(f"For tasks: {', '.join(tasks)}.")
    elif page.listing == "tasks":
        default = entry.default_objective
        facts.append(f"Default objective: [{code(default)}](objectives.md#{default}).")
        metrics = [f"[{code(metric.name)}](metrics.md#{metric.name})" for metric in entry.metrics]
        facts.append(f"Metrics: {', '.join(metrics)}. A study compares the first metric by default.")
    elif page.listing == "data" and getattr(entry, "suffixes", None):
        facts.append(f"File name endings: {', '.join(code(suffix) for suffix in entry.suffixes)}.")
    path = Path(inspect.getsourcefile(inspect.unwrap(entry)) or "").relative_to(ROOT).as_posix()
    yield "".join(f"- {fact}\n" for fact in [*facts, f"Code: `{path}`"])


def _tasks_of_objective(objective: str) -> list[str]:
    """Return the tasks with which an objective can be used."""
    tasks, entry = load_registry("tasks"), load_registry("objectives")[objective]
    return [name for name in tasks if name in entry.tasks or objective in tasks[name].more_objectives]


def _describe_option(option: Option, owner: str) -> str:
    assert option.help, f"the docstring of {owner} does not describe the option {option.name}"
    default = "required" if option.is_required else f"default {code(_default_as_yaml(option.default))}"
    return f"**{code(option.name)}** ({describe_type(option.type)}; {default}): {option.help}"


def _default_as_yaml(value: Any) -> str:
    """Return a default value as it is written in a recipe."""
    return as_yaml(list(value) if isinstance(value, tuple) else value)
