"""Settings of soup.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from research.settings.declarations import Effect, setting
from research.settings.model_scripts import ModelScriptSettings, model_program


@dataclass(frozen=True, kw_only=True)
class SoupSettings(ModelScriptSettings):
    """Soup"""

    run: list[str] = setting(  # type: ignore[assignment]  # several models instead of one
        [], effect=Effect.INVOCATION, input_path=str, takes_several_values=True
    )
    """Trained models to average: each a run directory, its model/ or best/ folder, or a checkpoint such as
    runs/a@step-400. May be given without the flag, as the first arguments."""
    study: str | None = setting(None, effect=Effect.INVOCATION)
    """Directory of a finished study, whose finished trials are averaged in addition; requires --arm, and a study that
    was run with --keep_models all."""
    arm: str | None = setting(None, effect=Effect.INVOCATION)
    """Arm of the study whose trials are averaged. They differ only in the seed."""
    output: str = setting("", effect=Effect.INVOCATION)
    """New folder for the averaged model and its results."""
    overwrite: bool = setting(False, effect=Effect.INVOCATION)
    """Replace an earlier soup in that folder."""
    uniform: bool = setting(False, effect=Effect.INVOCATION)
    """Average all models. By default, a model is added only if the average does not become worse."""
    metric: str | None = setting(None, effect=Effect.INVOCATION)
    """Validation metric by which models are sorted and added. By default, the task's main metric, such as accuracy."""
    batch_size: int = setting(32, effect=Effect.INVOCATION, above=0, unit="rows")
    """Maximum number of rows in one batch. Results differ only by rounding."""
    mixed_precision: Literal["auto", "no", "bf16", "fp16"] = setting("auto", effect=Effect.INVOCATION)
    """Floating-point precision of the forward pass, as in run.py and predict.py: auto uses bf16 if the hardware
    supports it natively, otherwise float32."""


SOUP = model_program(
    "soup.py",
    "python experiments/soup.py",
    "Average the weights of several trained models that started from the same encoder (a model soup). Validation rows "
    "decide which models are added; the test rows are evaluated once, with the final average.",
    SoupSettings,
    models="RUN RUN ...",
)
"""The command-line interface of soup.py."""
