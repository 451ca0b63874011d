"""Settings of export.py."""

from __future__ import annotations

from dataclasses import dataclass

from research.settings.declarations import Effect, declarations, setting
from research.settings.model_scripts import ModelScriptSettings, model_program
from research.system.scripts import script_argument


@dataclass(frozen=True, kw_only=True)
class ExportSettings(ModelScriptSettings):
    """Export"""

    format: str = setting("", effect=Effect.INVOCATION)
    """Format: `hub` (a folder for Transformers and the Hugging Face Hub), `peft` (a PEFT adapter for the plain
    encoder), `onnx` or `torch` (torch.export)."""
    output: str = setting("", effect=Effect.INVOCATION)
    """Folder to write."""
    overwrite: bool = setting(False, effect=Effect.INVOCATION)
    """Replace the folder of an earlier export and, with `--push_to_hub`, upload into an existing repository."""
    native: bool = setting(False, effect=Effect.INVOCATION)
    """hub: write one of Transformers' own classes, which loads without remote code. Refused for models that have no
    such class."""
    push_to_hub: str | None = setting(None, effect=Effect.INVOCATION, unit="USER/NAME")
    """hub: also upload the folder to this repository of the Hugging Face Hub. Needs a token with write access
    (`hf auth login`, or HF_TOKEN)."""
    private: bool = setting(False, effect=Effect.INVOCATION)
    """hub: create the repository of `--push_to_hub` as a private one. An existing public repository is refused."""
    merge: bool = setting(False, effect=Effect.INVOCATION)
    """peft: merge the adapter into the encoder, and write a plain model."""
    int8: bool = setting(False, effect=Effect.INVOCATION)
    """onnx: also write a model with 8-bit weights, and compare the metrics of both on the run's test rows."""


COMMON_SETTINGS = (*declarations(ModelScriptSettings), "format", "output", "overwrite")
"""Settings that concern every format. Each other setting belongs to the formats that have it in `own_settings`."""
EXPORT = model_program(
    "export.py",
    f"python {script_argument('export')}",
    "Export a trained model into a folder that does not need Midway. Each setting after --overwrite belongs to the "
    "format named in its description, and is refused for other formats.",
    ExportSettings,
)
"""The command-line interface of export.py."""
