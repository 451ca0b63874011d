"""The encoder with its head computes, saves and loads correctly in every family."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss
from transformers import pipeline

from heads.base import EncoderSpec, register_head
from research.model.build_model import build_model
from research.model.encoder_with_head import EncoderWithHead, EncoderWithHeadConfig
from research.model.encoders import load_tokenizer, minilm
from research.settings.config import RunConfig
from research.tasks.regression import Regression
from research.tasks.single_label import SingleLabel
from tests.research.model.tiny_encoders import FAMILY_NAMES, ProbeHead, tiny_batch, tiny_model

# Endings of the names of parameters whose exact gradient is 0: the bias of a key adds the same number to all scores of
# a query, and softmax does not depend on that number.
WITH_ZERO_GRADIENT = ("key.bias", "k_lin.bias", "attn.k.bias")


@pytest.fixture(scope="module")
def minilm_with_probe() -> EncoderWithHead:
    """Build a model from MiniLM, with its pretrained weights, and a probe head."""
    task = SingleLabel(("bad", "good"))
    return build_model(
        RunConfig(head={"name": "probe", "initial_bias": 0.5}, attention_dropout=0.0, max_length=32, truncation="head"),
        task,
    )


def assert_same_bits(first: nn.Module, second: nn.Module) -> None:
    for kind in ("named_parameters", "named_buffers"):
        first_tensors, second_tensors = dict(getattr(first, kind)()), dict(getattr(second, kind)())
        assert first_tensors.keys() == second_tensors.keys()
        for name, tensor in first_tensors.items():
            assert torch.equal(tensor, second_tensors[name]), name


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_forward_and_backward_reach_every_parameter(family: str) -> None:
    model = tiny_model(family).train()
    batch = tiny_batch()
    model(**batch, labels=torch.tensor([0, 1, 2])).loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        if not name.endswith(WITH_ZERO_GRADIENT):
            assert parameter.grad.abs().max() > 0, name


def test_output_units_scale_and_shift_logits_and_are_saved(tmp_path: Path) -> None:
    model, batch = tiny_model("bert").eval(), tiny_batch()
    before = model(**batch).logits
    model.set_output_units(shift=torch.tensor([1.0, 0.0, -2.0]), scale=torch.tensor([1.0, 3.0, 0.5]))
    after = model(**batch).logits
    torch.testing.assert_close(after, before * torch.tensor([1.0, 3.0, 0.5]) + torch.tensor([1.0, 0.0, -2.0]))
    model.save_pretrained(tmp_path)
    assert torch.equal(EncoderWithHead.from_pretrained(tmp_path)(**batch).logits, after)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_head_gets_all_hidden_states_starting_with_the_embeddings_if_it_wants_them(family: str) -> None:
    model = tiny_model(family, "all_layers_probe").eval()
    batch = tiny_batch()
    outputs = model.encoder(**batch, output_hidden_states=True)
    assert len(outputs.hidden_states) == 3  # the embeddings and two layers
    torch.testing.assert_close(outputs.hidden_states[-1], outputs.last_hidden_state)
    expected = model.head(outputs.hidden_states, batch["attention_mask"])
    torch.testing.assert_close(model(**batch).logits, expected)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_forward_ignores_padding_on_the_right(family: str) -> None:
    model = tiny_model(family).eval()
    batch = tiny_batch((9, 5))
    without_padding = {name: tensor[1:, :5] for name, tensor in batch.items()}
    torch.testing.assert_close(model(**batch).logits[1:], model(**without_padding).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_token_type_ids_are_accepted_in_every_family_and_matter_if_it_has_segments(family: str) -> None:
    model = tiny_model(family).eval()
    batch = tiny_batch((6, 6))
    zeros = torch.zeros_like(batch["input_ids"])
    torch.testing.assert_close(model(**batch).logits, model(**batch, token_type_ids=zeros).logits)
    assert ("token_type_ids" in model.accepted_inputs) is (family not in {"distilbert", "modernbert", "mpnet"})
    logits_with_ones = model(**batch, token_type_ids=zeros + 1).logits
    # In these families, the embeddings depend on the token types.
    has_segments = family in {"albert", "bert", "electra", "roberta", "xlm-roberta"}
    assert torch.equal(logits_with_ones, model(**batch).logits) == (not has_segments)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_forward_under_autocast_gives_finite_logits_and_a_float32_loss(family: str) -> None:
    model = tiny_model(family).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = model(**tiny_batch(), labels=torch.tensor([0, 1, 2]))
    outputs.loss.backward()
    assert outputs.loss.dtype == torch.float32
    assert torch.isfinite(outputs.logits).all()


def enable_gradient_checkpointing(model: Any, options: dict[str, Any] | None) -> None:
    # Transformers renamed this method after version 5.22.
    name = "activation_checkpointing_enable"
    getattr(model, name if hasattr(model, name) else "gradient_checkpointing_enable")(options)


# Transformers does not support gradient checkpointing for albert and mpnet.
@pytest.mark.parametrize("family", [family for family in FAMILY_NAMES if family not in {"albert", "mpnet"}])
def test_gradient_checkpointing_does_not_change_gradients(family: str) -> None:
    model = tiny_model(family).eval()  # without dropout
    labels = torch.tensor([0, 1, 2])
    model(**tiny_batch(), labels=labels).loss.backward()
    expected = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    # Checkpointing acts only in training mode, so dropout is turned off separately.
    model.train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    enable_gradient_checkpointing(model, {"use_reentrant": False})
    model(**tiny_batch(), labels=labels).loss.backward()
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_gradient_checkpointing_is_refused_if_the_encoder_does_not_support_it() -> None:
    with pytest.raises(ValueError, match=r"(activation|gradient) checkpointing"):
        enable_gradient_checkpointing(tiny_model("albert"), None)


@pytest.mark.parametrize(
    ("task", "labels", "loss_function"),
    [
        ("single_label", torch.tensor([0, 2, 1]), cross_entropy),
        ("multi_label", torch.tensor([[1.0, 0, 1], [0, 0, 0], [0, 1, 0]]), binary_cross_entropy_with_logits),
    ],
)
def test_loss_is_the_mean_loss_of_the_task(
    task: str, labels: Tensor, loss_function: Callable[[Tensor, Tensor], Tensor]
) -> None:
    outputs = tiny_model("bert", task=task).eval()(**tiny_batch(), labels=labels)
    torch.testing.assert_close(outputs.loss, loss_function(outputs.logits, labels))


def test_loss_of_regression_is_the_mean_squared_error() -> None:
    labels = torch.tensor([0.5, -1.0, 3.0])
    outputs = tiny_model("bert", num_labels=1, task="regression").eval()(**tiny_batch(), labels=labels)
    torch.testing.assert_close(outputs.loss, mse_loss(outputs.logits[:, 0], labels))


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_save_and_load_keep_every_bit(family: str, tmp_path: Path) -> None:
    model = tiny_model(family).eval()
    model.head.shift += 0.123
    model.save_pretrained(tmp_path)
    loaded = EncoderWithHead.from_pretrained(tmp_path)
    assert_same_bits(model, loaded)
    assert torch.equal(model(**tiny_batch()).logits, loaded(**tiny_batch()).logits)
    assert loaded.encoder.config._attn_implementation == model.encoder.config._attn_implementation
    assert not any("pooler" in name for name, _ in loaded.named_parameters())


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_attention_is_fused_if_the_family_supports_it(family: str) -> None:
    expected = "eager" if family in {"deberta-v2", "mpnet"} else "sdpa"
    assert tiny_model(family).encoder.config._attn_implementation == expected


def test_head_keeps_its_own_initialisation(minilm_with_probe: EncoderWithHead) -> None:
    for model in (tiny_model("bert", initial_bias=0.5), minilm_with_probe):
        weights = model.head.state_dict()
        assert weights["out.weight"].min() >= 2.0  # drawn by ProbeHead from 2 to 3
        assert torch.equal(weights["out.bias"], torch.full_like(weights["out.bias"], 0.5))


def test_initialisation_of_a_model_is_determined_by_the_seed() -> None:
    assert_same_bits(tiny_model("bert"), tiny_model("bert"))


def test_saved_config_contains_all_head_options_and_can_be_loaded(
    minilm_with_probe: EncoderWithHead, tmp_path: Path
) -> None:
    minilm_with_probe.config.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["head_options"] == {"initial_bias": 0.5, "shift": True}
    loaded = EncoderWithHeadConfig.from_pretrained(tmp_path)
    assert (loaded.max_input_length, loaded.truncation, loaded.head) == (32, "head", "probe")
    assert (loaded.problem_type, loaded.id2label) == ("single_label_classification", {0: "bad", 1: "good"})
    assert loaded.encoder is not None
    assert minilm_with_probe.config.encoder is not None
    assert loaded.encoder.to_dict() == minilm_with_probe.config.encoder.to_dict()


def test_config_contains_no_paths_of_this_machine(minilm_with_probe: EncoderWithHead, tmp_path: Path) -> None:
    minilm_with_probe.save_pretrained(tmp_path)
    assert str(minilm().parent) not in (tmp_path / "config.json").read_text()


def test_config_of_the_encoder_is_shared_with_the_model(saved_model: Path) -> None:
    for model in (tiny_model("bert"), EncoderWithHead.from_pretrained(saved_model)):
        assert model.encoder.config is model.config.encoder


def test_build_model_loads_the_pretrained_weights(minilm_with_probe: EncoderWithHead) -> None:
    stored = load_file(minilm() / "model.safetensors")
    for name, parameter in minilm_with_probe.encoder.named_parameters():
        assert torch.equal(parameter, stored[name]), name


def dropout_probabilities(encoder: nn.Module) -> set[float]:
    return {module.p for module in encoder.modules() if isinstance(module, nn.Dropout)}


def test_build_model_sets_dropout(minilm_with_probe: EncoderWithHead) -> None:
    model = build_model(RunConfig(head="probe", dropout=0.3, attention_dropout=None), Regression(("score",)))
    assert dropout_probabilities(model.encoder) == {0.3, 0.1}  # attention keeps the encoder's 0.1
    assert dropout_probabilities(minilm_with_probe.encoder) == {0.1, 0.0}  # attention_dropout is set to 0.0
    assert (model.config.problem_type, model.config.num_labels) == ("regression", 1)


def test_build_model_refuses_unknown_names_and_a_max_length_above_that_of_the_encoder() -> None:
    task = SingleLabel(("no", "yes"))
    with pytest.raises(ValueError, match=r"head 'prob'.*'probe'\?"):
        build_model(RunConfig(head="prob"), task)
    with pytest.raises(ValueError, match=r"'inital_bias'.*'initial_bias'\?.*head 'probe': initial_bias, shift"):
        build_model(RunConfig(head={"name": "probe", "inital_bias": 1.0}), task)
    with pytest.raises(ValueError, match=r"max_length .*\b512\b.*'minilm'.*\b513\b"):
        build_model(RunConfig(head="probe", max_length=513), task)


@register_head("tied")
class TiedHead(ProbeHead):
    """A probe after three linear layers that share parameters."""

    def __init__(self, encoder: EncoderSpec, num_labels: int) -> None:
        super().__init__(encoder, num_labels)
        self.first = nn.Linear(encoder.hidden_size, encoder.hidden_size)
        self.second = nn.Linear(encoder.hidden_size, encoder.hidden_size)
        self.second.weight = self.first.weight
        self.third = self.first

    def forward(self, hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
        return super().forward(self.third(self.second(self.first(hidden_states))), attention_mask)


def test_save_and_load_keep_shared_parameters_shared(tmp_path: Path) -> None:
    model = tiny_model("bert", "tied")
    model.save_pretrained(tmp_path)
    loaded = EncoderWithHead.from_pretrained(tmp_path)
    assert_same_bits(model, loaded)
    assert loaded.head.first.weight is loaded.head.second.weight is loaded.head.third.weight


def test_pipeline_returns_the_models_predictions(minilm_with_probe: EncoderWithHead, tmp_path: Path) -> None:
    tokenizer = load_tokenizer("minilm")
    tokenizer.model_max_length = minilm_with_probe.config.max_input_length
    tokenizer.save_pretrained(tmp_path)
    minilm_with_probe.save_pretrained(tmp_path)
    texts = ["A quiet, moving film.", "Dull. " * 100]
    classify = pipeline("text-classification", str(tmp_path))
    assert isinstance(classify.model, EncoderWithHead)
    batch = tokenizer(texts, truncation=True, padding=True, return_tensors="pt")
    assert batch["input_ids"].shape == (2, 32)  # the second text is truncated to max_length
    with torch.no_grad():
        expected = minilm_with_probe.eval()(**batch).logits.softmax(-1)
    classified = cast("list[list[dict[str, Any]]]", classify(texts, truncation=True, top_k=None))
    for scores, expected_scores in zip(classified, expected, strict=True):
        score_by_label = {entry["label"]: entry["score"] for entry in scores}
        torch.testing.assert_close(
            torch.tensor([score_by_label["bad"], score_by_label["good"]]), expected_scores, rtol=1e-4, atol=1e-6
        )


def test_model_without_the_config_of_an_encoder_is_refused() -> None:
    with pytest.raises(ValueError, match="config of an encoder"):
        EncoderWithHead(EncoderWithHeadConfig(head="probe"))


def test_head_with_a_buffer_that_is_not_saved_is_refused() -> None:
    class Unsaved(ProbeHead):
        def __init__(self, encoder: EncoderSpec, num_labels: int) -> None:
            super().__init__(encoder, num_labels)
            self.register_buffer("table", torch.ones(2), persistent=False)

    register_head("unsaved")(Unsaved)
    with pytest.raises(ValueError, match=r"head 'unsaved' .*\(table\)"):
        tiny_model("bert", "unsaved")


def test_head_with_a_wrong_number_of_outputs_is_refused() -> None:
    class Wide(ProbeHead):
        def __init__(self, encoder: EncoderSpec, num_labels: int) -> None:
            super().__init__(encoder, num_labels + 3)

    register_head("wide")(Wide)
    with pytest.raises(ValueError, match=r"\[3, 3\] .*'wide'.* \[3, 6\]"):
        tiny_model("bert", "wide")(**tiny_batch())
