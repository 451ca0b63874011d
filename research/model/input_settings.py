"""How the rows of a file become a model's inputs and labels. Saved with the model, for files that it is given later."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any

from research.settings.template import Template, parse_template

MODEL_FORMAT = 1
"""Version of saved models. Increase it by one whenever models saved before can no longer be used."""


@dataclass(frozen=True)
class InputSettings:
    """The task, and how texts and labels are read."""

    task: str
    """Registered name of the task."""
    text_columns: tuple[str, ...] = ("text",)
    """Columns that the training texts were read from: one, or two if the inputs are pairs of texts."""
    label_columns: tuple[str, ...] = ("label",)
    """Columns that the training labels were read from."""
    label_separator: str | None = None
    """Separator of several label names in one string."""
    cleaning: tuple[str, ...] = ()
    """Cleaning steps, applied to each text in this order."""

    template: str | None = None
    """Template around the texts, as `--template` gives it; None if there is none, or if the tokenizer adds it."""

    @functools.cached_property
    def parsed_template(self) -> Template | None:
        """The parsed template; None without one."""
        return parse_template(self.template)

    @property
    def has_pairs(self) -> bool:
        """Whether the inputs are pairs of texts."""
        return len(self.text_columns) == 2

    def to_config(self) -> dict[str, Any]:
        """Return the form in which a model's config contains the settings."""
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in dataclasses.asdict(self).items()
        }

    @classmethod
    def from_config(cls, value: dict[str, Any]) -> InputSettings:
        """Return the settings in a model's config."""
        fields: dict[str, Any] = {name: tuple(item) if isinstance(item, list) else item for name, item in value.items()}
        return cls(**fields)
