"""What a model card is made of, and its metadata for the Hugging Face Hub."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCardData

from research.edits.records import Record
from research.export.metric_intervals import bootstrap_test_metrics
from research.inference.saved_model import SavedModel
from research.model.encoder_with_head import EncoderWithHead
from research.model.encoders import is_downloaded
from research.records.journal_file import read_journal
from research.settings.run_files import CONFIG, JOURNAL
from research.system.paths import without_folders
from research.tasks.metric import LOSS

HUB_IDS = {"minilm": "sentence-transformers/all-MiniLM-L6-v2"}
"""Repositories of the packaged encoders."""
_HUB_METRICS = {
    "f1_macro": "f1",
    "f1_micro": "f1",
    "mcc": "matthews_correlation",
    "auroc": "roc_auc",
    "pearson": "pearsonr",
    "spearman": "spearmanr",
}
"""The Hub's names of metrics that have another name there."""
_DATA_ON_HUB = "hub:"


@dataclass(frozen=True)
class CardFacts:
    """A trained model and its run."""

    saved: SavedModel
    """The trained model."""
    model: EncoderWithHead
    """The model that is exported: the trained model, possibly with merged adapters."""
    repository: str | None
    """Repository that the model is uploaded to."""
    is_native: bool
    """Whether the folder contains one of Transformers' own classes."""
    requirements: Sequence[str]
    """Distributions that the head needs in addition to Transformers and PyTorch."""
    is_adapter: bool = False
    """Whether the folder contains adapters for PEFT, not a whole model."""

    @functools.cached_property
    def config(self) -> Mapping[str, Any] | None:
        """Settings of the run; None without a run directory."""
        run = self.saved.run
        return None if run is None else yaml.safe_load((run / CONFIG).read_text(encoding="utf-8"))

    @functools.cached_property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """Confidence intervals of the test metrics."""
        if self.saved.run is None or "test" not in self.saved.metrics:
            return {}
        return bootstrap_test_metrics(self.saved.run, self.saved.task, self.saved.metrics["test"])

    @functools.cached_property
    def edits(self) -> list[Record]:
        """The journal of the run."""
        run = self.saved.run
        return read_journal(run) if run is not None and (run / JOURNAL).is_file() else []

    @property
    def labels(self) -> list[str]:
        """Names of the labels."""
        return self.model.label_names

    @property
    def encoder(self) -> str:
        """Name of the encoder, without a folder of this machine."""
        assert self.model.config.encoder is not None
        return without_folders(self.model.config.encoder.name_or_path or self.model.config.encoder.model_type)

    @property
    def encoder_on_hub(self) -> str | None:
        """Repository of the encoder on the Hub; None for a folder.

        None also for an encoder of the Hub that is not in this machine's cache, because its name may be that of a
        folder.
        """
        assert self.model.config.encoder is not None
        recorded = self.model.config.encoder.name_or_path
        return HUB_IDS.get(recorded, recorded if is_downloaded(recorded) else None)

    @property
    def data(self) -> str:
        """Name of the data, without a folder of this machine."""
        assert self.config is not None
        return without_folders(str(self.config["data"]))

    @property
    def title(self) -> str:
        """Title of the card."""
        if self.repository is not None:
            return self.repository.rpartition("/")[2]
        return self.saved.folder.name if self.saved.run is None else self.saved.run.absolute().name


def card_metadata(facts: CardFacts) -> ModelCardData:
    """Return the metadata in the Hub's format, with the test metrics."""
    on_hub = facts.config is not None and facts.data.startswith(_DATA_ON_HUB)
    dataset = "" if facts.config is None else facts.data.removeprefix(_DATA_ON_HUB).partition(":")[0]
    test_metrics = facts.saved.metrics.get("test", {})
    results = [
        EvalResult(
            task_type="text-classification",
            dataset_type=dataset,
            dataset_name=dataset,
            dataset_split="test",
            metric_type=_HUB_METRICS.get(name, name),
            metric_name=name,
            metric_value=value,
        )
        for name, value in test_metrics.items()
        if "/" not in name and name != LOSS.name and math.isfinite(value)
    ]
    return ModelCardData(
        library_name="peft" if facts.is_adapter else "transformers",
        pipeline_tag="text-classification",
        base_model=facts.encoder_on_hub,
        base_model_relation="adapter" if facts.is_adapter else None,
        tags=["midway", "text-classification", f"head-{facts.model.config.head}"],
        datasets=[dataset] if on_hub and dataset else None,
        metrics=list(dict.fromkeys(each.metric_type for each in results)) or None,
        model_name=facts.title if results else None,
        eval_results=results or None,
    )
