"""The model card (README.md) of an exported model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from research.data.prepare.cleaning import CLEANING
from research.export.card_metadata import CardFacts, card_metadata
from research.export.metric_intervals import NUM_RESAMPLES
from research.export.template_tokenizer import has_spaces_in_normalizer
from research.settings.config import RunConfig
from research.settings.declarations import Declaration, Effect, declarations
from research.settings.run_files import BEST
from research.statistics.bootstrap import CONFIDENCE
from research.system.durable import format_bytes
from research.system.paths import without_folders
from research.system.plain_text import markdown_code

CARD = "README.md"
PLACEHOLDER = "path/to/this/folder"
"""Stands for the model in the example, unless the model is uploaded to the Hub."""


def write_card(facts: CardFacts, folder: Path, use: Iterable[str] | None = None) -> None:
    """Write the card.

    Args:
        facts: the model and its run.
        folder: the exported folder.
        use: paragraphs that show how to load the folder; by default, with a pipeline.
    """
    sections = (
        [f"# {facts.title}", _introduction(facts)],
        _usage(facts) if use is None else use,
        _data(facts),
        _results(facts),
        _training(facts),
        _limitations(facts),
    )
    text = "\n\n".join(part for section in sections for part in section)
    (folder / CARD).write_text(f"---\n{card_metadata(facts).to_yaml()}\n---\n\n{text}\n", encoding="utf-8")


def _introduction(facts: CardFacts) -> str:
    kinds: dict[str | None, str] = {
        "single_label_classification": f"assigns one of {len(facts.labels)} labels to",
        "multi_label_classification": f"assigns any of {len(facts.labels)} labels to",
        "regression": "predicts a number for",
    }
    inputs = "a pair of texts" if facts.saved.inputs.has_pairs else "a text"
    kind, head = kinds[facts.model.config.problem_type], facts.model.config.head
    parts = f"the encoder `{facts.encoder}` with the head `{head}`"
    return f"This model {kind} {inputs}. It is {parts}, fine-tuned with Midway."


def _usage(facts: CardFacts) -> Iterator[str]:
    inputs = facts.saved.inputs
    yield "## Use"
    packages = ["transformers", "torch", *facts.requirements]
    remote = (
        ""
        if facts.is_native
        else (
            " With `trust_remote_code=True`, Transformers runs the model's code, which is in the folder; read it first."
        )
    )
    yield f"This needs the packages {', '.join(f'`{name}`' for name in packages)}.{remote}"
    yield f"```python\n{example(facts)}\n```"
    if inputs.cleaning and facts.is_native:
        steps = "; ".join(f"`{name}`: {_first_line(CLEANING[name])}" for name in inputs.cleaning)
        yield f"Clean each text as in training before you pass it to the pipeline, in this order. {steps}"
    elif inputs.cleaning:
        yield "`clean` applies the cleaning steps of the training. A pipeline does not do this by itself."
    yield from describe_inputs_and_outputs(facts)


def describe_inputs_and_outputs(facts: CardFacts) -> Iterator[str]:
    """Yield paragraphs about the template, the truncation of long inputs, the thresholds and the temperature."""
    config = facts.model.config
    if facts.saved.template is not None:
        yield "The tokenizer puts each input into this template, so pass only the texts:"
        yield markdown_code(facts.saved.template, "text")
    yield _truncation(facts)
    if config.thresholds is not None:
        yield (
            "A label is predicted if its probability is above its threshold: "
            + ", ".join(f"`{name}` {value:.4g}" for name, value in zip(facts.labels, config.thresholds, strict=True))
            + ". The thresholds are in `config.json`; the model does not apply them."
        )
    elif config.problem_type == "multi_label_classification":
        yield "A label is predicted if its probability is above 0.5."
    if config.calibration_temperature != 1:
        yield f"The logits are divided by a temperature of {config.calibration_temperature:.4g} (Guo et al. 2017)."


def example(facts: CardFacts) -> str:
    """Return Python code that classifies texts."""
    inputs = facts.saved.inputs
    remote = "" if facts.is_native else ", trust_remote_code=True"
    cleans = bool(inputs.cleaning) and not facts.is_native
    text, pair = "the first text", "the second text"
    if inputs.has_pairs:
        row = (
            f'{{"text": clean("{text}"), "text_pair": clean("{pair}")}}'
            if cleans
            else f'{{"text": "{text}", "text_pair": "{pair}"}}'
        )
    else:
        row = 'clean("a text")' if cleans else '"a text"'
    lines = [
        "from transformers import pipeline\n",
        f'classify = pipeline("text-classification", model="{facts.repository or PLACEHOLDER}"{remote})',
        *(["clean = classify.model.clean"] if cleans else []),
        f"print(classify([{row}], top_k=None{', truncation=True' if facts.is_native else ''}))",
    ]
    return "\n".join(lines)


def _truncation(facts: CardFacts) -> str:
    config = facts.model.config
    part = {"head": "their start", "tail": "their end", "head_tail": "their start and their end"}[config.truncation]
    text = f"Inputs of more than {config.max_input_length} tokens were truncated to {part} in training."
    if not facts.is_native:
        return (
            f"{text} The model truncates them in the same way. Ignore the tokenizer's message about too long "
            "sequences, and do not pass `truncation=True`."
        )
    if config.truncation == "head_tail":
        return (
            f"{text} A tokenizer cannot do this: with `truncation=True`, only their start is kept, so the results for "
            "such inputs differ from those of the run."
        )
    return f"{text} `truncation=True` does the same."


def _data(facts: CardFacts) -> Iterator[str]:
    result = facts.saved.result
    if result is None:
        return
    yield "## Data"
    rows = ", ".join(f"{number:,} {split}" for split, number in result["rows"].items())
    skipped = sum(each["rows"] for each in result["skipped_rows"])
    yield (
        f"`{facts.data}`: {rows} rows"
        + (f"; {skipped:,} unusable rows were skipped" if skipped else "")
        + f". SHA-256 of the rows: `{result['rows_sha256']}`."
    )
    if len(facts.labels) <= 20 and facts.model.config.problem_type != "regression":
        yield "Labels: " + ", ".join(f"`{name}`" for name in facts.labels) + "."


def _results(facts: CardFacts) -> Iterator[str]:
    metrics = facts.saved.metrics
    if not metrics:
        return
    yield "## Results"
    lines = ["| metric | test | 95% interval | validation |", "|---|---|---|---|"]
    for name, value in metrics.get("test", {}).items():
        if "/" in name:  # a metric of one label
            continue
        interval = facts.intervals.get(name)
        bounds = f"{interval[0]:.4f} to {interval[1]:.4f}" if interval else "-"
        lines.append(f"| {name} | {_number(value)} | {bounds} | {_number(metrics['validation'][name])} |")
    if "test" not in metrics:
        lines = ["| metric | validation |", "|---|---|"]
        lines += [f"| {name} | {_number(value)} |" for name, value in metrics["validation"].items() if "/" not in name]
    yield "\n".join(lines)
    if facts.intervals:
        yield (
            f"Intervals: {CONFIDENCE:.0%} percentile bootstrap over the test rows ({NUM_RESAMPLES:,} samples). They do "
            "not contain the variation between training runs."
        )


def _training(facts: CardFacts) -> Iterator[str]:
    if facts.config is None:
        return
    yield "## Training"
    yield (
        "Settings of the run, without most of those that have their default value. Saved as `recipe.yaml`, "
        "`accelerate launch experiments/run.py --recipe recipe.yaml` repeats the training with Midway. Paths are "
        "shortened to their last part."
    )
    yield f"```yaml\n{yaml.safe_dump(changed_settings(facts.config), sort_keys=False, allow_unicode=True).strip()}\n```"
    result = facts.saved.result
    if result is not None and result["parent"] is not None:
        parent = without_folders(result["parent"]["run"])
        yield (
            f"The run is a fork: it continues the run `{parent}` from step {result['parent']['step']:,}, and can be "
            "repeated only with the checkpoint of that step."
        )
    if facts.saved.folder.name == BEST:
        yield (
            f"This is the model with the best {facts.config['best_metric']} on the validation rows. Later steps and "
            "edits of the run did not change it."
        )
    if facts.edits:
        lines = ["Edits of the model during training:\n", "| step | edit | trainable parameters |", "|---|---|---|"]
        for edit in facts.edits:
            before, after = edit.trainable_parameters
            arguments = ", ".join(f"{name}={value!r}" for name, value in edit.arguments.items())
            name = f"`{edit.name}({arguments})`" + (f" (skipped: {edit.skipped})" if edit.skipped else "")
            lines.append(f"| {edit.step:,} | {name.replace('|', chr(92) + '|')} | {before:,} → {after:,} |")
        yield "\n".join(lines)
    if result is not None:
        versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
        yield (
            f"{result['steps']:,} steps ({result['epochs']:.3g} epochs) in {result['train_seconds'] / 60:,.1f} min. "
            f"{_hardware(result)}, mixed precision {result['mixed_precision']}, peak memory "
            f"{format_bytes(result['peak_memory_bytes'])} in the main process. Versions: {versions}."
        )


def _hardware(result: Mapping[str, Any]) -> str:
    """Return the number of processes, and what each of them ran on."""
    num_processes = result["world_size"]
    processes = f"Hardware: {num_processes} process{'' if num_processes == 1 else 'es'}"
    if "device" not in result:  # a run by an earlier version
        return processes
    num_threads = result["num_threads"]
    return f"{processes} on {result['device']} with {num_threads} CPU thread{'' if num_threads == 1 else 's'} each"


def _limitations(facts: CardFacts) -> Iterator[str]:
    yield "## Limitations"
    items = [
        "On topics, styles, languages or times that are not in its training data, its results may be worse. Evaluate "
        "it on your own data before you rely on it.",
        "It may reproduce errors and prejudices in the labels and in the encoder's pretraining data.",
        f"It reads at most {facts.model.config.max_input_length} tokens of an input.",
    ]
    if facts.model.config.problem_type != "regression" and facts.model.config.calibration_temperature == 1:
        items.append("Its scores have not been calibrated: a score of 0.9 need not be right in 9 of 10 cases.")
    if facts.model is not facts.saved.model:
        items.append("Its adapters are merged into the weights, which changes the last bits of logits.")
    if facts.saved.inputs.has_pairs and not facts.is_adapter:
        items.append("Pipelines treat an empty second text as a missing one, which the model has not seen in training.")
        if not facts.is_native:
            items.append(
                "If the first text of a pair contains what is between the texts, such as the tokenizer's separator "
                "`[SEP]`, and the pair is too long, it is truncated at another place than in training."
            )
    if has_spaces_in_normalizer(facts.saved):
        items.append(
            "If a text contains one of the tokenizer's special tokens, such as `[SEP]` or `<mask>`, the tokenizer puts "
            "the template's space also behind that token, which it did not in training."
        )
    if not facts.is_native:
        items.append("The loss that it computes from labels is Transformers' default, not the objective of the run.")
    yield "\n".join(f"- {item}" for item in items)


def changed_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that affect what is trained and differ from the defaults, without folders of this machine."""
    declared = declarations(RunConfig)
    defaults = RunConfig().to_recipe()
    changed = {
        name: value
        for name, value in config.items()
        if name in declared and _affects_training(declared[name]) and value != defaults.get(name)
    }
    for name, value in changed.items():
        if declared[name].input_path is not None and value is not None:
            changed[name] = [*map(without_folders, value)] if isinstance(value, list) else without_folders(value)
    return changed


def _affects_training(declared: Declaration) -> bool:
    """Return whether a setting affects what is trained; a plugin does, since it defines the head."""
    return declared.effect is not Effect.NONE or declared.input_path is not None


def _first_line(function: object) -> str:
    return (function.__doc__ or "").strip().partition("\n")[0]


def _number(value: float) -> str:
    return "not defined" if math.isnan(value) else f"{value:.4f}"
