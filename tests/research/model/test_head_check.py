"""Faults of heads that would go unnoticed in training are found before it starts. No shipped head has such a fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from tokenizers import processors
from torch import Tensor, nn

from heads import HEADS, EncoderSpec, Head, register_head
from heads.masking import first_token, masked_mean
from research import Hook, RunConfig
from research.data.batches.collate import Collator
from research.model.build_model import windows_of
from research.model.encoders import load_tokenizer
from research.model.head_check import HeadCheck, HeadError, PlannedHead
from research.tasks.single_label import SingleLabel
from research.training.api import Run
from research.training.checkpoint.save import save_checkpoint
from research.training.loop import train
from research.training.run import TrainingRun
from tests.messages import collect_messages
from tests.research.conftest import StartRun
from tests.research.model.tiny_encoders import tiny_model
from tests.shipped import shipped_names


class PoolingHead(Head):
    """A linear layer on a pooled vector. Most subclasses pool in a faulty way."""

    def __init__(self, encoder: EncoderSpec, num_labels: int) -> None:
        super().__init__()
        self.out = nn.Linear(encoder.hidden_size, num_labels)

    def forward(self, hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
        return self.out(self.pool(hidden_states, attention_mask.to(hidden_states.dtype).unsqueeze(-1)))

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return [batch, hidden] for states [batch, seq, hidden] and a mask [batch, seq, 1]."""
        raise NotImplementedError


class MeanWithPadding(PoolingHead):
    """The mean over all positions, including padding."""

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        return states.mean(1)


class ZeroInitialised(MeanWithPadding):
    """A MeanWithPadding with an output layer that is initialised with zeros."""

    def __init__(self, encoder: EncoderSpec, num_labels: int) -> None:
        super().__init__(encoder, num_labels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)


class SumDividedByPositions(PoolingHead):
    """The sum over tokens, divided by the number of positions, including padding."""

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        return (states * mask).mean(1)


class LastPosition(PoolingHead):
    """The last position, which may be a token or padding."""

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        return states[:, -1]


class MaxWithPadding(PoolingHead):
    """The maximum over all positions, including padding."""

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        return states.amax(1)


class NaNWithoutTokens(PoolingHead):
    """The mean over tokens, which divides by 0 for a row without tokens."""

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        return (states * mask).sum(1) / mask.sum(1)


class FixedWidth(PoolingHead):
    """A weighted sum with 16 weights. The check's rows have 16 positions until it adds padding."""

    def __init__(self, encoder: EncoderSpec, num_labels: int) -> None:
        super().__init__(encoder, num_labels)
        self.weights = nn.Parameter(torch.ones(16))

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        return torch.einsum("bsh,s->bh", states * mask, self.weights.to(states.dtype))


class ReversedGRU(PoolingHead):
    """A GRU that reads each row from the right, so that padding on the right is read before the tokens."""

    def __init__(self, encoder: EncoderSpec, num_labels: int) -> None:
        super().__init__(encoder, num_labels)
        self.gru = nn.GRU(encoder.hidden_size, encoder.hidden_size, batch_first=True)

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        outputs = self.gru(states.float().flip(1))[0].flip(1)
        return (outputs * mask).sum(1) / mask.sum(1).clamp_min(1)


class BeforeFirstPadding(PoolingHead):
    """The position before the first padding, or position 0 if there is none."""

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        end = (mask.squeeze(-1) == 0).int().argmax(1) - 1
        return states[torch.arange(len(states)), end.clamp_min(0)]


class RandomLogits(PoolingHead):
    """Logits that differ in every pass."""

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        return torch.randn_like(states[:, 0])


class MaskedMean(PoolingHead):
    """A correct mean over tokens."""

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        return masked_mean(states, mask.squeeze(-1).long())


class NormalizedMean(MaskedMean):
    """A MaskedMean whose result is normalized with running statistics."""

    def __init__(self, encoder: EncoderSpec, num_labels: int) -> None:
        super().__init__(encoder, num_labels)
        self.norm = nn.BatchNorm1d(encoder.hidden_size)

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        return self.norm(super().pool(states, mask))


class UnusedParameter(MaskedMean):
    """A MaskedMean with an unused parameter."""

    def __init__(self, encoder: EncoderSpec, num_labels: int) -> None:
        super().__init__(encoder, num_labels)
        self.unused = nn.Parameter(torch.zeros(2))


class BatchStatistics(MaskedMean):
    """A mean over tokens, normalized over the rows of the batch."""

    def __init__(self, encoder: EncoderSpec, num_labels: int) -> None:
        super().__init__(encoder, num_labels)
        self.norm = nn.BatchNorm1d(encoder.hidden_size, track_running_stats=False)

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        return self.norm(super().pool(states, mask))


class MinusFirstRow(MaskedMean):
    """A mean over tokens, minus the mean of the batch's first row."""

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        pooled = super().pool(states, mask)
        return pooled - pooled[:1]


class SqueezesSingleRow(MaskedMean):
    """A mean over tokens that drops the batch dimension for a single row."""

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        return super().pool(states, mask).squeeze()


SENSITIVE_TO_RIGHT_PADDING = [LastPosition, ReversedGRU]
"""Heads that depend on padding on the right, but not on the left."""
SENSITIVE_TO_PADDING = [
    MeanWithPadding,
    ZeroInitialised,
    SumDividedByPositions,
    MaxWithPadding,
    NaNWithoutTokens,  # only for a row without tokens; the logits of other rows do not depend on padding
    FixedWidth,
    BeforeFirstPadding,
    *SENSITIVE_TO_RIGHT_PADDING,
]
DEPENDENT_ON_OTHER_ROWS = [BatchStatistics, MinusFirstRow, SqueezesSingleRow]


class OwnFirstToken(Head):
    """A linear layer on the first token, without the declaration of Midway's own heads."""

    def __init__(self, encoder: EncoderSpec, num_labels: int) -> None:
        super().__init__()
        self.out = nn.Linear(encoder.hidden_size, num_labels)

    def forward(self, hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
        return self.out(first_token(hidden_states, attention_mask))


class MeanAfterDropout(PoolingHead):
    """The mean over tokens after dropout, which claims to start with the mean."""

    input_pooling = "masked_mean"

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        return masked_mean(nn.functional.dropout(states, 0.5, training=self.training), mask.squeeze(-1).long())


class MeanThatClaimsTheMaximum(PoolingHead):
    """The mean over tokens, which claims to start with the maximum."""

    input_pooling = "masked_max"

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        return masked_mean(states, mask.squeeze(-1).long())


for head_class in (
    OwnFirstToken,
    MeanAfterDropout,
    MeanThatClaimsTheMaximum,
    *SENSITIVE_TO_PADDING,
    *DEPENDENT_ON_OTHER_ROWS,
    RandomLogits,
    MaskedMean,
    NormalizedMean,
    UnusedParameter,
):
    register_head(head_class.__name__)(head_class)


def build_head_check(
    accelerator: Accelerator, encoder: Path, padding_side: str, *, family: str = "bert", **settings: Any
) -> HeadCheck:
    """Return a check on a tiny encoder. Its tokenizer is that of `encoder`, set to pad on `padding_side`."""
    tokenizer = load_tokenizer(str(encoder))
    tokenizer.padding_side = padding_side
    config = RunConfig(**{"max_length": 32, **settings})
    collator = Collator(tokenizer, SingleLabel(("a", "b")), max_length=config.max_length, truncation="head", pair=False)
    return HeadCheck(tiny_model(family, "mean"), accelerator, collator, config)


@pytest.mark.parametrize("padding_side", ["right", "left"])
def test_head_check_refuses_a_head_of_the_first_token_on_a_causal_encoder(
    accelerator: Accelerator, tiny_encoder: Path, padding_side: str
) -> None:
    on_bert = build_head_check(accelerator, tiny_encoder, padding_side)
    on_bert.check([planned_head("OwnFirstToken")])
    on_llama = build_head_check(accelerator, tiny_encoder, padding_side, family="llama")
    on_llama.check([planned_head(name, is_causal=True) for name in ("last", "mean_last", "mean", "lstm")])
    with pytest.raises(HeadError, match=r"'OwnFirstToken'.*'llama'.*--head last"):
        on_llama.check([planned_head("OwnFirstToken", is_causal=True)])
    on_llama.check([planned_head("OwnFirstToken")])  # after set_bidirectional


@pytest.mark.parametrize(("head", "expected"), [("last", "reads only the last token"), ("linear", "first token")])
def test_a_head_that_reads_one_window_is_refused_unless_windows_share_its_token(
    accelerator: Accelerator, tiny_encoder: Path, head: str, expected: str
) -> None:
    tokenizer = load_tokenizer(str(tiny_encoder))
    config = RunConfig(max_length=32, long_texts="windows", stride=8)

    def check(name: str) -> None:
        collator = Collator(
            tokenizer, SingleLabel(("a", "b")), max_length=32, truncation="head", pair=False, windows=windows_of(config)
        )
        HeadCheck(tiny_model("bert"), accelerator, collator, config).check([planned_head(name)])

    check(head)  # [CLS] and [SEP] are in all windows
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A", pair="$A $B", special_tokens=[]
    )
    with pytest.raises(HeadError, match=rf"'{head}' .*{expected}.*--long_texts truncate"):
        check(head)
    for other in ("mean", "attention", "lstm", "mean_last", "max", "cnn"):
        check(other)


def planned_head(name: str, *, is_causal: bool = False, **options: Any) -> PlannedHead:
    return PlannedHead(name, options, trainable=frozenset(), is_causal=is_causal)


@pytest.mark.parametrize("head", [MeanAfterDropout, MeanThatClaimsTheMaximum])
def test_head_check_refuses_a_head_that_does_not_start_with_its_input_pooling(
    accelerator: Accelerator, tiny_encoder: Path, head: type[Head], monkeypatch: pytest.MonkeyPatch
) -> None:
    check = build_head_check(accelerator, tiny_encoder, "right")
    with pytest.raises(HeadError, match=rf"{head.__name__}.*{head.input_pooling}"):
        check.check([planned_head(head.__name__)])
    monkeypatch.setattr(head, "input_pooling", None)
    check.check([planned_head(head.__name__)])


def test_unknown_input_pooling_is_refused(
    accelerator: Accelerator, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MeanAfterDropout, "input_pooling", "masked_men")
    with pytest.raises(ValueError, match=r"'masked_men'.*'masked_mean'"):
        build_head_check(accelerator, tiny_encoder, "right").check([planned_head("MeanAfterDropout")])


@pytest.mark.parametrize("padding_side", ["right", "left"])
def test_head_check_accepts_every_shipped_head_that_fits_the_encoder(
    accelerator: Accelerator, tiny_encoder: Path, padding_side: str
) -> None:
    messages: list[str] = []
    for max_length in (3, 16, 64):
        check = build_head_check(accelerator, tiny_encoder, padding_side, max_length=max_length)
        names = [name for name in shipped_names(HEADS) if name != "last4"]  # last4 requires more layers
        with collect_messages(messages):
            check.check([planned_head("MaskedMean"), *map(planned_head, names)])
    assert len(names) >= 9
    assert messages == []


@pytest.mark.parametrize(
    ("head", "padding_side"),
    [
        *((head, "right") for head in SENSITIVE_TO_PADDING),
        *((head, "left") for head in SENSITIVE_TO_PADDING if head not in SENSITIVE_TO_RIGHT_PADDING),
    ],
)
def test_head_check_refuses_dependence_on_padding(
    accelerator: Accelerator, tiny_encoder: Path, head: type[Head], padding_side: str
) -> None:
    check = build_head_check(accelerator, tiny_encoder, padding_side)
    with pytest.raises(HeadError, match=head.__name__):
        check.check([planned_head(head.__name__)])
    messages: list[str] = []
    lenient_check = build_head_check(accelerator, tiny_encoder, padding_side, allow_padding_sensitive=True)
    with collect_messages(messages):
        lenient_check.check([planned_head(head.__name__)])
    assert [head.__name__ in line for line in messages] == [True]  # one message, which names the head


@pytest.mark.parametrize("head", DEPENDENT_ON_OTHER_ROWS)
def test_head_check_refuses_dependence_on_other_rows(
    accelerator: Accelerator, tiny_encoder: Path, head: type[Head]
) -> None:
    with pytest.raises(HeadError, match=rf"{head.__name__}.*other rows"):
        build_head_check(accelerator, tiny_encoder, "right").check([planned_head(head.__name__)])
    messages: list[str] = []
    # The setting also allows dependence on other rows.
    lenient_check = build_head_check(accelerator, tiny_encoder, "right", allow_padding_sensitive=True)
    with collect_messages(messages):
        lenient_check.check([planned_head(head.__name__)])
    assert [head.__name__ in line for line in messages] == [True]


def test_head_check_warns_about_a_random_head(accelerator: Accelerator, tiny_encoder: Path) -> None:
    messages: list[str] = []
    with collect_messages(messages):
        build_head_check(accelerator, tiny_encoder, "right").check([planned_head("RandomLogits")])
    assert ["RandomLogits" in line for line in messages] == [True]


def test_head_check_restores_the_model_and_the_random_state(accelerator: Accelerator, tiny_encoder: Path) -> None:
    model = tiny_model("bert")
    model.train()
    model.encoder.get_submodule("embeddings").eval()
    modes = {name: module.training for name, module in model.named_modules()}
    values = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.random.get_rng_state()
    config = RunConfig(max_length=32)
    task = SingleLabel(("a", "b"))
    collator = Collator(load_tokenizer(str(tiny_encoder)), task, max_length=32, truncation="head", pair=False)
    HeadCheck(model, accelerator, collator, config).check([planned_head("lstm"), planned_head("scalar_mix")])
    assert torch.equal(torch.random.get_rng_state(), state)
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert all(torch.equal(tensor, values[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    "settings",
    [
        {"head": "MeanWithPadding"},
        {"head": "MeanWithPadding", "freeze": ["encoder"], "cache_features": True},
        {"timeline": [{"at": "2st", "replace_head": "NaNWithoutTokens"}]},  # "2st": after step 2
        {
            "timeline": [{"when": "plateau(validation/loss, 1)", "replace_head": "NaNWithoutTokens"}],
            "evaluate_every": "1st",
        },
    ],
    ids=["first head", "cached hidden states", "due later", "conditional"],
)
def test_planned_heads_are_checked_before_training(start_run: StartRun, settings: dict[str, Any]) -> None:
    with pytest.raises(HeadError):
        start_run(**settings)
    messages: list[str] = []
    start_run(messages=messages, allow_padding_sensitive=True, **settings)
    assert any("--allow_padding_sensitive" in line for line in messages)


def test_head_requested_by_a_hook_is_checked_when_it_is_applied(start_run: StartRun) -> None:
    class ReplaceHead(Hook):
        def after_step(self, run: Run) -> None:
            if run.clock.step == 2:
                run.edit.replace_head("MaxWithPadding")

    run = start_run([ReplaceHead()])
    with pytest.raises(HeadError, match="MaxWithPadding"):
        train(run)
    assert run.clock.step == 2


def test_head_replaced_before_the_first_step_is_not_checked(start_run: StartRun) -> None:
    run = start_run(head="MeanWithPadding", timeline=[{"at": "0%", "replace_head": "MaskedMean"}])
    train(run)
    assert run.clock.step == run.clock.total_steps


def test_resume_restores_the_buffers_of_a_head_exactly(start_run: StartRun) -> None:
    class SaveAfterStep2(Hook):
        def end_of_step(self, run: Run) -> None:
            if run.clock.step == 2:
                assert isinstance(run, TrainingRun)
                save_checkpoint(run, keep=1)

    uninterrupted = start_run([SaveAfterStep2()], head="NormalizedMean")
    train(uninterrupted)
    checkpoint = uninterrupted.directory / "checkpoints" / "step-00000002"
    saved_tensors = load_file(checkpoint / "model.safetensors")
    resumed = start_run([SaveAfterStep2()], head="NormalizedMean", resume=checkpoint)
    train(resumed)
    actual, expected = (run.encoder_with_head.state_dict() for run in (resumed, uninterrupted))
    # The running statistics changed after the checkpoint.
    assert not torch.equal(saved_tensors["head.norm.running_var"], expected["head.norm.running_var"])
    assert all(torch.equal(actual[name], tensor) for name, tensor in expected.items())


def test_unused_parameter_is_reported_once(start_run: StartRun, capsys: pytest.CaptureFixture[str]) -> None:
    run = start_run(
        head="UnusedParameter", timeline=[{"at": "2st", "replace_head": "linear"}, {"at": "3st", "scale_lr": 0.5}]
    )
    train(run)
    messages = [line for line in capsys.readouterr().out.splitlines() if "no gradient" in line]
    # One message, which names only the unused parameter of the first head.
    assert [("head.unused" in line, "head.out" in line) for line in messages] == [(True, False)]
