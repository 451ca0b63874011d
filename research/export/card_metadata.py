"""What a model card is made of, and its metadata for the Hugging Face Hub."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCardData

from research.edits.records import Record
from research.export.local_paths import without_folders
from research.export.metric_intervals import bootstrap_test_metrics
from research.inference.saved_model import SavedModel
from research.model.encoder_with_head import EncoderWithHead
from research.records.journal_file import read_journal
from research.records.results import read_result
from research.settings.run_files import BEST, CONFIG, JOURNAL
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
    def result(self) -> Mapping[str, Any] | None:
        """Content of the run's result.json; None if there is none."""
        return None if self.saved.run is None else read_result(self.saved.run)

    @property
    def metrics(self) -> Mapping[str, Mapping[str, float | None]]:
        """Metrics by split; empty if the run's metrics are not those of this model."""
        if self.result is None or (self.result["tested"] == "best") != (self.saved.folder.name == BEST):
            return {}
        metrics: Mapping[str, Mapping[str, float | None]] = self.result["metrics"]
        return metrics

    @functools.cached_property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """Confidence intervals of the test metrics."""
        if self.saved.run is None or "test" not in self.metrics:
            return {}
        return bootstrap_test_metrics(self.saved.run, self.saved.task, dict(self.metrics["test"]))

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
    test_metrics = facts.metrics.get("test", {})
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
        if "/" not in name and name != LOSS.name and value is not None
    ]
    is_hub_id = facts.encoder.count("/") == 1
    return ModelCardData(
        library_name="peft" if facts.is_adapter else "transformers",
        pipeline_tag="text-classification",
        base_model=facts.encoder if is_hub_id else HUB_IDS.get(facts.encoder),
        base_model_relation="adapter" if facts.is_adapter else None,
        tags=["midway", "text-classification", f"head-{facts.model.config.head}"],
        datasets=[dataset] if on_hub and dataset else None,
        metrics=list(dict.fromkeys(each.metric_type for each in results)) or None,
        model_name=facts.title if results else None,
        eval_results=results or None,
    )
