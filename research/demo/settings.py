"""Command line of demo.py."""

from __future__ import annotations

from dataclasses import dataclass

from research.settings.declarations import Effect, setting
from research.settings.model_scripts import ModelScriptSettings, model_program


@dataclass(frozen=True, kw_only=True)
class DemoSettings(ModelScriptSettings):
    """Page"""

    examples: str | None = setting(None, effect=Effect.INVOCATION, input_path=str)
    """Text file with inputs that the page offers as examples: one text per line or, for a model of pairs, two texts
    separated by a tab. null offers none."""
    host: str = setting("127.0.0.1", effect=Effect.INVOCATION)
    """Address of this machine at which the page is served. With the default, only this machine can open the page; with
    0.0.0.0, every machine in the network can."""
    port: int = setting(7860, effect=Effect.INVOCATION, at_least=1, at_most=65535)
    """Port at which the page is served."""


DEMO = model_program(
    "demo.py",
    "python experiments/demo.py",
    "Serve a web page that classifies texts with a trained model, and shows which tokens the prediction depends on. "
    "Requires the `demo_page` extra.",
    DemoSettings,
)
