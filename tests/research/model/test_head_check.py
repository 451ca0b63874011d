"""Faults of heads that would not stop a run are found before they train; every shipped head has none of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import Tensor, nn

from heads import HEADS, EncoderSpec, Head, register_head
from heads.masking import masked_mean
from research import Hook, RunConfig
from research.data.batches.collate import Collator
from research.model.encoders import load_tokenizer
from research.model.head_check import HeadCheck, HeadError, PlannedHead
from research.tasks.single_label import SingleLabel
from research.training.api import Run
from research.training.checkpoint.save import save_checkpoint
from research.training.loop import train
from research.training.run import TrainingRun
from tests.messages import collected
from tests.research.conftest import StartRun
from tests.research.model.tiny_encoders import tiny_model
from tests.shipped import shipped


class MeanOfAll(Head):
    """Mean over all places, padding among them."""

    def __init__(self, encoder: EncoderSpec, num_labels: int) -> None:
        super().__init__()
        self.out = nn.Linear(encoder.hidden_size, num_labels)

    def forward(self, hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
        return self.out(self.pool(hidden_states, attention_mask.to(hidden_states.dtype).unsqueeze(-1)))

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        return states.mean(1)


class BeginsWithZero(MeanOfAll):
    """The same before an output layer that gives 0 whatever it gets."""

    def __init__(self, encoder: EncoderSpec, num_labels: int) -> None:
        super().__init__(encoder, num_labels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)


class SumByWidth(MeanOfAll):
    """Sum over tokens, divided by the number of places."""

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        return (states * mask).mean(1)


class LastPosition(MeanOfAll):
    """The last place, whatever is there."""

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        return states[:, -1]


class Unmasked(MeanOfAll):
    """Maximum over all places."""

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        return states.amax(1)


class NotAlone(MeanOfAll):
    """A mean over tokens that divides by 0 where there are none."""

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        return (states * mask).sum(1) / mask.sum(1)


class FixedWidth(MeanOfAll):
    """A weight for each of 16 places."""

    def __init__(self, encoder: EncoderSpec, num_labels: int) -> None:
        super().__init__(encoder, num_labels)
        self.weights = nn.Parameter(torch.ones(16))

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        return torch.einsum("bsh,s->bh", states * mask, self.weights.to(states.dtype))


class Backwards(MeanOfAll):
    """A GRU that reads padding before it reads tokens."""

    def __init__(self, encoder: EncoderSpec, num_labels: int) -> None:
        super().__init__(encoder, num_labels)
        self.gru = nn.GRU(encoder.hidden_size, encoder.hidden_size, batch_first=True)

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        read = self.gru(states.float().flip(1))[0].flip(1)
        return (read * mask).sum(1) / mask.sum(1).clamp_min(1)


class RightUnlessFull(MeanOfAll):
    """The last token of each row, but the first one of a row without padding (on the right)."""

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        end = (mask.squeeze(-1) == 0).int().argmax(1) - 1
        return states[torch.arange(len(states)), end.clamp_min(0)]


class Random(MeanOfAll):
    """Other logits each time."""

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        return torch.randn_like(states[:, 0])


class Right(MeanOfAll):
    """A mean over tokens, with what only tokens can be read for."""

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        return masked_mean(states, mask.squeeze(-1).long())


class Normalized(Right):
    """The same behind a normalization with running statistics."""

    def __init__(self, encoder: EncoderSpec, num_labels: int) -> None:
        super().__init__(encoder, num_labels)
        self.norm = nn.BatchNorm1d(encoder.hidden_size)

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        return self.norm(super().pool(states, mask))


class Unused(Right):
    """The same, and a parameter that nothing uses."""

    def __init__(self, encoder: EncoderSpec, num_labels: int) -> None:
        super().__init__(encoder, num_labels)
        self.more = nn.Parameter(torch.zeros(2))


class BatchStatistics(Right):
    """A mean over tokens, normalized by the rows that happen to be in a batch."""

    def __init__(self, encoder: EncoderSpec, num_labels: int) -> None:
        super().__init__(encoder, num_labels)
        self.norm = nn.BatchNorm1d(encoder.hidden_size, track_running_stats=False)

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        return self.norm(super().pool(states, mask))


class LessFirstRow(Right):
    """The difference to the first row of the batch."""

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        pooled = super().pool(states, mask)
        return pooled - pooled[:1]


class NotOneRow(Right):
    """A mean over tokens that loses its first dimension if there is one row only."""

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        return super().pool(states, mask).squeeze()


READ_THE_RIGHT = [LastPosition, Backwards, RightUnlessFull]
"""Heads that read no padding where it is on the left."""
SENSITIVE = [MeanOfAll, BeginsWithZero, SumByWidth, Unmasked, NotAlone, FixedWidth, *READ_THE_RIGHT]
BY_OTHER_ROWS = [BatchStatistics, LessFirstRow, NotOneRow]


for each in (*SENSITIVE, *BY_OTHER_ROWS, Random, Right, Normalized, Unused):
    register_head(each.__name__)(each)


def head_check(accelerator: Accelerator, encoder: Path, side: str, **settings: Any) -> HeadCheck:
    tokenizer = load_tokenizer(str(encoder))
    tokenizer.padding_side = side
    config = RunConfig(**{"max_length": 32, **settings})
    collator = Collator(tokenizer, SingleLabel(("a", "b")), max_length=config.max_length, truncation="head", pair=False)
    return HeadCheck(tiny_model("bert"), accelerator, collator, config)


def planned(name: str, **options: Any) -> PlannedHead:
    return PlannedHead(name, options, frozenset())


@pytest.mark.parametrize("side", ["right", "left"])
def test_every_registered_head_passes(accelerator: Accelerator, tiny_encoder: Path, side: str) -> None:
    said: list[str] = []
    for max_length in (3, 16, 64):
        check = head_check(accelerator, tiny_encoder, side, max_length=max_length)
        names = [name for name in shipped(HEADS) if name != "last4"]
        with collected(said):
            check.check([planned("Right"), *map(planned, names)])
    assert len(names) >= 9
    assert said == []


@pytest.mark.parametrize(
    ("head", "side"),
    [
        *((head, "right") for head in SENSITIVE),
        *((head, "left") for head in SENSITIVE if head not in READ_THE_RIGHT),
    ],
)
def test_head_that_depends_on_padding_is_refused(
    accelerator: Accelerator, tiny_encoder: Path, head: type[Head], side: str
) -> None:
    check = head_check(accelerator, tiny_encoder, side)
    with pytest.raises(HeadError, match=head.__name__):
        check.check([planned(head.__name__)])
    said: list[str] = []
    allowing = head_check(accelerator, tiny_encoder, side, allow_padding_sensitive=True)
    with collected(said):
        allowing.check([planned(head.__name__)])
    assert [head.__name__ in line for line in said] == [True]


@pytest.mark.parametrize("head", BY_OTHER_ROWS)
def test_head_that_depends_on_other_rows_is_refused(
    accelerator: Accelerator, tiny_encoder: Path, head: type[Head]
) -> None:
    with pytest.raises(HeadError, match=rf"{head.__name__}.*other rows"):
        head_check(accelerator, tiny_encoder, "right").check([planned(head.__name__)])
    said: list[str] = []
    allowing = head_check(accelerator, tiny_encoder, "right", allow_padding_sensitive=True)
    with collected(said):
        allowing.check([planned(head.__name__)])
    assert [head.__name__ in line for line in said] == [True]


def test_random_head_is_reported(accelerator: Accelerator, tiny_encoder: Path) -> None:
    said: list[str] = []
    with collected(said):
        head_check(accelerator, tiny_encoder, "right").check([planned("Random")])
    assert ["Random" in line for line in said] == [True]


def test_check_leaves_model_and_random_numbers_as_they_were(accelerator: Accelerator, tiny_encoder: Path) -> None:
    model = tiny_model("bert")
    model.train()
    model.encoder.get_submodule("embeddings").eval()
    modes = {name: module.training for name, module in model.named_modules()}
    values = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.random.get_rng_state()
    config = RunConfig(max_length=32)
    task = SingleLabel(("a", "b"))
    collator = Collator(load_tokenizer(str(tiny_encoder)), task, max_length=32, truncation="head", pair=False)
    HeadCheck(model, accelerator, collator, config).check([planned("lstm"), planned("scalar_mix")])
    assert torch.equal(torch.random.get_rng_state(), state)
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert all(torch.equal(tensor, values[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    "settings",
    [
        {"head": "MeanOfAll"},
        {"head": "MeanOfAll", "freeze": ["encoder"], "cache_features": True},
        {"timeline": [{"at": "2st", "replace_head": "NotAlone"}]},
        {"timeline": [{"when": "plateau(validation/loss, 1)", "replace_head": "NotAlone"}], "evaluate_every": "1st"},
    ],
    ids=["first head", "cached hidden states", "due later", "conditional"],
)
def test_heads_of_a_run_are_checked_before_it_trains(start_run: StartRun, settings: dict[str, Any]) -> None:
    with pytest.raises(HeadError):
        start_run(**settings)
    said: list[str] = []
    start_run(said=said, allow_padding_sensitive=True, **settings)
    assert any("--allow_padding_sensitive" in line for line in said)


def test_head_that_a_hook_brings_is_checked_when_it_comes(start_run: StartRun) -> None:
    class Swaps(Hook):
        def after_step(self, run: Run) -> None:
            if run.clock.step == 2:
                run.edit.replace_head("Unmasked")

    run = start_run([Swaps()])
    with pytest.raises(HeadError, match="Unmasked"):
        train(run)
    assert run.clock.step == 2


def test_heads_that_an_edit_replaces_at_once_are_not_checked(start_run: StartRun) -> None:
    run = start_run(head="MeanOfAll", timeline=[{"at": "0%", "replace_head": "Right"}])
    train(run)
    assert run.clock.step == 4


def test_buffers_of_a_head_are_resumed_exactly(start_run: StartRun) -> None:
    class Save(Hook):
        def end_of_step(self, run: Run) -> None:
            if run.clock.step == 2:
                assert isinstance(run, TrainingRun)
                save_checkpoint(run, keep=1)

    whole = start_run([Save()], head="Normalized")
    train(whole)
    checkpoint = whole.directory / "checkpoints" / "step-00000002"
    saved = load_file(checkpoint / "model.safetensors")
    resumed = start_run([Save()], head="Normalized", resume=checkpoint)
    train(resumed)
    found, expected = (run.encoder_with_head.state_dict() for run in (resumed, whole))
    assert not torch.equal(saved["head.norm.running_var"], expected["head.norm.running_var"])
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_parameter_without_gradient_is_named_once(start_run: StartRun, capsys: pytest.CaptureFixture[str]) -> None:
    run = start_run(head="Unused", timeline=[{"at": "2st", "replace_head": "linear"}, {"at": "3st", "scale_lr": 0.5}])
    train(run)
    said = [line for line in capsys.readouterr().out.splitlines() if "no gradient" in line]
    assert [("head.more" in line, "head.out" in line) for line in said] == [(True, False)]
