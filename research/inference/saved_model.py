"""Load a trained model with everything that its predictions depend on."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from heads import HEADS
from heads.registry import UnknownNameError, describe_unknown
from research.data.batches.collate import Collator
from research.data.batches.windows import Windows
from research.data.prepare.cleaning import CleaningStep, compose
from research.model.encoder_with_head import EncoderWithHead, EncoderWithHeadConfig
from research.model.encoders import check_tokenizer_files, read_tokenizer
from research.model.families import pads_left
from research.model.input_settings import InputSettings
from research.model.saved_models import find_run, find_trained_model
from research.records.results import read_metrics, read_result
from research.settings.forks import read_settings
from research.settings.plugins import check_plugins, hash_plugins, import_plugins
from research.settings.run_files import BEST, CONFIG
from research.system.messages import logger
from research.system.paths import expand_path
from research.tasks.base import TASKS, Task

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class SavedModel:
    """A trained model, as its run directory or an exported folder contains it."""

    folder: Path
    """The folder of the model."""
    run: Path | None
    """The run directory that the folder is in; None if there is none."""
    model: EncoderWithHead
    """The model on the CPU, in evaluation mode, float32."""
    tokenizer: PreTrainedTokenizerBase
    """Its tokenizer."""
    task: Task
    """Its task, with the label names and the thresholds."""
    inputs: InputSettings
    """How texts become inputs."""

    @functools.cached_property
    def result(self) -> dict[str, Any] | None:
        """Content of the run's result.json; None without a run directory, or if the run has not finished."""
        result = None if self.run is None else read_result(self.run)
        return result if result is not None and result["status"] == "finished" else None

    @functools.cached_property
    def metrics(self) -> dict[str, dict[str, float]]:
        """Metrics of this model in the run's result.json, by split and name.

        Empty without a result, or if the run tested another model: `model/` of a run that tested `best/`.
        """
        is_tested = self.result is not None and (self.result["tested"] == "best") == (self.folder.name == BEST)
        return read_metrics(self.result) if self.result is not None and is_tested else {}

    @property
    def template(self) -> str | None:
        """The template around the texts, also if the tokenizer of an exported model adds it; None without one."""
        exported = self.model.config.special_tokens or {}
        return self.inputs.template or exported.get("template")

    @functools.cached_property
    def clean(self) -> CleaningStep:
        """Function that applies the model's cleaning steps to a text."""
        return compose(self.inputs.cleaning)

    @functools.cached_property
    def collator(self) -> Collator:
        """Collator with the model's truncation and windows."""
        config = self.model.config
        return Collator(
            self.tokenizer,
            self.task,
            max_length=config.max_input_length,
            truncation=config.truncation,
            pair=self.inputs.has_pairs,
            pads_left=pads_left(config.encoder, self.tokenizer),
            template=self.inputs.parsed_template,
            windows=None if config.windows is None else Windows(**config.windows),
        )

    def predict(self, texts: Sequence[str] | Sequence[tuple[str, str]], *, batch_size: int = 32) -> pd.DataFrame:
        """Predict the labels of texts.

        Args:
            texts: the texts or, for a model of pairs, pairs of texts. Texts without any content are allowed.
            batch_size: maximum number of texts in one batch.
        Returns:
            A table with one row per text: the text (`text`, and `text_pair` for pairs), `prediction`, and
            `score_<label name>` for each output of the model.
        Raises:
            ValueError: if this is a single string, or a text is not a string, or not a pair of strings for a model of
                pairs.
        """
        if isinstance(texts, str):  # a sequence of its characters
            raise ValueError(f"Expected a list of texts, got the string {texts!r:.100}. Pass a list: [text].")
        import pandas as pd

        from research.inference.prediction_columns import prediction_columns
        from research.inference.scorer import Scorer

        rows = [self._as_texts(text) for text in texts]
        logits = Scorer(self, batch_size=batch_size)([[self.clean(text) for text in row] for row in rows])
        names = ("text", "text_pair")[: len(self.inputs.text_columns)]
        text_columns = {name: [row[index] for row in rows] for index, name in enumerate(names)}
        columns = {name: column.to_pylist() for name, column in prediction_columns(self.task, logits).items()}
        return pd.DataFrame({**text_columns, **columns})

    def _as_texts(self, text: Any) -> tuple[str, ...]:
        """Return an input as a tuple of one or two strings.

        Raises:
            ValueError: if it does not have the form that the model needs.
        """
        texts = (text,) if isinstance(text, str) else tuple(text) if isinstance(text, tuple | list) else ()
        if len(texts) != len(self.inputs.text_columns) or not all(isinstance(each, str) for each in texts):
            expected = "pairs of strings" if self.inputs.has_pairs else "strings"
            raise ValueError(f"The model in {self.folder} predicts {expected}; got {text!r:.100}.")
        return texts


def load_model(path: str | Path, *, plugin: Sequence[str] = ()) -> SavedModel:
    """Load a trained model.

    Args:
        path: a run directory, its model/ or best/ folder, or a folder written by `export.py --format hub`. A run
            directory stands for its best/, or for its model/ if there is no best/.
        plugin: your own code that the model needs, as for `--plugin`; by default, the plugins of the run.
    Raises:
        ValueError: if there is no trained model, it was saved by another version, or its head or task is unknown.
    """
    folder = find_trained_model(expand_path(str(path)))
    run = find_run(folder)
    import_plugins(plugin or plugins_of(run))
    config = EncoderWithHeadConfig.from_pretrained(folder)
    assert config.inputs is not None
    inputs = InputSettings.from_config(config.inputs)
    for kind, name, registry in (("head", config.head, HEADS), ("task", inputs.task, TASKS)):
        if name not in registry:
            raise UnknownNameError(
                f"The model in {folder} needs a {kind} that is not registered. "
                + describe_unknown(kind, name, registry)
                + " If it is your own, pass the file that registers it with --plugin."
            )
    model = EncoderWithHead.from_pretrained(folder).eval()
    task = TASKS[inputs.task](label_names=tuple(model.label_names), thresholds=tuple(config.thresholds or ()))
    saved = SavedModel(folder, run, model, _load_tokenizer(folder, config), task, inputs)
    if run is not None and saved.result is None:
        logger.warning(f"The run in {run} has not finished, so {folder.name}/ may not be its final model.")
    return saved


def _load_tokenizer(folder: Path, config: EncoderWithHeadConfig) -> PreTrainedTokenizerBase:
    check_tokenizer_files(folder)
    assert config.encoder is not None
    if (config.special_tokens or {}).get("template") is not None:
        # The class of the encoder's family might build the tokenizer again, without the template.
        return PreTrainedTokenizerFast.from_pretrained(folder)
    return read_tokenizer(folder, config.encoder)


def plugins_of(run: Path | None) -> list[str]:
    """Return the plugins of a run, with a warning about those whose files have changed since the run."""
    if run is None:
        return []
    plugins: list[str] = read_settings(run / CONFIG, "the run").get("plugin", [])
    try:
        check_plugins(plugins)
    except ValueError as error:
        raise ValueError(
            f"The run in {run} was started with --plugin {' '.join(plugins)}, which is not found from here. Pass its "
            f"present path with --plugin, or work in the folder where the run was started. ({error})"
        ) from None
    recorded = (read_result(run) or {}).get("plugins", {}) if plugins else {}
    if recorded:
        import_plugins(plugins)
        for plugin, sha256 in hash_plugins(plugins).items():
            if recorded.get(plugin, sha256) != sha256:
                logger.warning(f"The plugin {plugin} has changed since the run.")
    return plugins
