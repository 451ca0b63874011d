"""Run Transformers' common tests of models on a small encoder with a head.

The tests are in the source distribution of Transformers. Unpack the one of the installed version, install the package
`parameterized`, and run `TRANSFORMERS_SOURCE=transformers-5.23.0 python -m pytest tests/scripts/common_model_tests.py`.
The source distribution lacks the tests of text generation and of exporters, so that they are not run.
"""

from __future__ import annotations

import importlib
import os
import sys
import types
import unittest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from transformers import BertConfig

from research.model.encoder_with_head import EncoderWithHead, EncoderWithHeadConfig

SOURCE = os.environ.get("TRANSFORMERS_SOURCE")
if SOURCE is None:
    pytest.skip("TRANSFORMERS_SOURCE is not set", allow_module_level=True)

EXPECTED_FAILURES = {
    "test_correct_missing_keys": "it loads an encoder without a head, and from_pretrained refuses it",
    "test_model_weights_reload_no_missing_tied_weights": "it loads an incomplete file, and from_pretrained refuses it",
}
"""Tests that cannot pass, and why."""

BATCH, SEQ, VOCABULARY = 13, 7, 99

if TYPE_CHECKING:
    ModelTesterMixin: Any
else:
    # Under a name of its own: Midway's tests are a package named tests, too.
    package = types.ModuleType("transformers_tests")
    package.__path__ = [str(Path(SOURCE) / "tests")]
    sys.modules["transformers_tests"] = package
    for name, mixin in (
        ("exporters.test_export", "ExportTesterMixin"),
        ("generation.test_utils", "GenerationTesterMixin"),
    ):
        missing = types.ModuleType(f"transformers_tests.{name}")
        setattr(missing, mixin, type(mixin, (), {}))
        sys.modules[f"transformers_tests.{name.partition('.')[0]}"] = types.ModuleType(name.partition(".")[0])
        sys.modules[missing.__name__] = missing
    ModelTesterMixin = importlib.import_module("transformers_tests.test_modeling_common").ModelTesterMixin


class SmallModel:
    """Makes the config and the inputs of the tested model."""

    batch_size, seq_length, num_hidden_layers, num_attention_heads, hidden_size = BATCH, SEQ, 2, 4, 32
    is_training = True

    def get_config(self) -> EncoderWithHeadConfig:
        """Return the config of a small BERT with a linear head."""
        return EncoderWithHeadConfig(
            encoder=BertConfig(
                vocab_size=VOCABULARY,
                hidden_size=self.hidden_size,
                num_hidden_layers=self.num_hidden_layers,
                num_attention_heads=self.num_attention_heads,
                intermediate_size=37,
                max_position_embeddings=64,
                hidden_dropout_prob=0.1,
                attention_probs_dropout_prob=0.1,
            ),
            head="linear",
            num_labels=3,
            problem_type="single_label_classification",
        )

    def prepare_config_and_inputs_for_common(self) -> tuple[EncoderWithHeadConfig, dict[str, Any]]:
        """Return a config and random inputs."""
        ids = torch.randint(3, VOCABULARY, (BATCH, SEQ))
        return self.get_config(), {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


class TestEncoderWithHead(ModelTesterMixin, unittest.TestCase):  # type: ignore[misc]
    """Transformers' common tests."""

    all_model_classes = (EncoderWithHead,)
    _is_composite = True

    def _prepare_for_class(
        self, inputs: dict[str, Any], model_class: type, return_labels: bool = False
    ) -> dict[str, Any]:
        prepared = dict(super()._prepare_for_class(inputs, model_class))
        return prepared | {"labels": torch.zeros(BATCH, dtype=torch.long)} if return_labels else prepared

    def setUp(self) -> None:
        if self._testMethodName in EXPECTED_FAILURES:
            self.skipTest(EXPECTED_FAILURES[self._testMethodName])
        self.model_tester = SmallModel()
