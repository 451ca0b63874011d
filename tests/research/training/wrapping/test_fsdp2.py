"""A model is split over one process, made whole for edits, and split again; launched tests use several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from torch import nn
from torch.distributed.fsdp import FSDPModule

from research.data.batches.collate import Collator
from research.learning.optimizer import create_optimizer, regroup
from research.learning.optimizers.adamw import AdamW
from research.model.encoder_check import EncoderCheck
from research.model.encoder_with_head import EncoderWithHead
from research.model.encoders import load_encoder, load_tokenizer
from research.model.families import model_blocks
from research.settings.config import RunConfig
from research.system.checksums import checksums
from research.system.sharded_tensors import gather, is_sharded
from research.tasks.single_label import SingleLabel
from research.training.audit_error import AuditError
from research.training.rounds import join_alone
from research.training.wrapping.fsdp2 import ShardedModel, find_units
from research.training.wrapping.fully_sharded import sharding_states
from research.training.wrapping.sharding import choose_sharding
from tests.builders.tiny_families import tiny_family_encoder
from tests.research.model.tiny_encoders import tiny_batch, tiny_model

pytestmark = pytest.mark.sharding
CONFIG = RunConfig(shard="fsdp2")
Wrapped = tuple[ShardedModel, torch.optim.Optimizer]


@pytest.fixture
def lone_process() -> Iterator[None]:
    """A process group with one process."""
    join_alone(torch.device("cpu"))
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


@pytest.fixture
def wrapped(lone_process: None, accelerator: Accelerator) -> Wrapped:
    """A split model after a step, and its optimizer."""
    model = tiny_model("bert")
    wrapping = ShardedModel(accelerator, model, choose_sharding(CONFIG, accelerator))
    optimizer = create_optimizer(model_blocks(model.encoder, model.head), CONFIG)
    wrapping.wrap(optimizer)
    take_step(wrapping, optimizer)
    return wrapping, optimizer


def take_step(wrapping: ShardedModel, optimizer: torch.optim.Optimizer) -> None:
    """Take one step on a batch."""
    with wrapping.synchronizing(is_last=True):
        wrapping.module(**tiny_batch(), labels=torch.tensor([0, 1, 2])).loss.backward()
    wrapping.clip_gradients(wrapping.gradient_norm(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def regroup_after_edit(model: EncoderWithHead, optimizer: torch.optim.Optimizer) -> None:
    regroup(optimizer, AdamW(), model_blocks(model.encoder, model.head))


def test_all_parameters_are_split_and_belong_to_units(wrapped: Wrapped) -> None:
    wrapping, optimizer = wrapped
    model = wrapping.model
    assert all(is_sharded(parameter) for parameter in model.parameters())
    assert model.head in find_units(model)
    assert not isinstance(model.encoder, FSDPModule)  # Transformers recognises it by its class
    wrapping.check(optimizer)
    assert wrapping.num_trainable == sum(parameter.numel() for parameter in model.parameters())


def test_split_model_trains_like_a_whole_one(wrapped: Wrapped, accelerator: Accelerator) -> None:
    wrapping, _ = wrapped
    if accelerator.mixed_precision != "no":
        pytest.skip("layers of a split model compute in bf16 instead of casting their inputs")
    whole = tiny_model("bert")
    optimizer = create_optimizer(model_blocks(whole.encoder, whole.head), RunConfig())
    whole(**tiny_batch(), labels=torch.tensor([0, 1, 2])).loss.backward()
    torch.nn.utils.clip_grad_norm_(whole.parameters(), 1.0)
    optimizer.step()
    for name, parameter in wrapping.model.named_parameters():
        torch.testing.assert_close(gather(parameter), whole.get_parameter(name).detach(), rtol=0, atol=1e-7)


@pytest.mark.parametrize("touches", ["values", "structure"])
def test_edits_get_whole_parameters_and_keep_the_objects(wrapped: Wrapped, touches: str) -> None:
    wrapping, optimizer = wrapped
    model = wrapping.model
    before, values = dict(model.named_parameters()), checksums(model)
    states = {name: optimizer.state[parameter] for name, parameter in before.items()}
    wrapping.begin_edits(touches, optimizer)  # type: ignore[arg-type]
    assert not sharding_states(model)
    assert type(model) is EncoderWithHead
    assert not any(is_sharded(parameter) for parameter in model.parameters())
    assert checksums(model) == values
    assert {each for group in optimizer.param_groups for each in group["params"]} == set(model.parameters())
    model(**tiny_batch())  # works without the other processes
    wrapping.end_edits(touches, optimizer)  # type: ignore[arg-type]
    after = dict(model.named_parameters())
    assert all(after[name] is parameter for name, parameter in before.items())
    assert all(optimizer.state[parameter] is states[name] for name, parameter in after.items())
    assert checksums(model) == values
    wrapping.check(optimizer)
    take_step(wrapping, optimizer)


def test_edits_of_modules_leave_values_where_they_are(wrapped: Wrapped) -> None:
    wrapping, optimizer = wrapped
    model = wrapping.model
    before, values = dict(model.named_parameters()), checksums(model)
    wrapping.begin_edits("modules", optimizer)
    for name, stand_in in model.named_parameters():
        assert stand_in.shape == before[name].shape
        assert stand_in.untyped_storage().nbytes() == stand_in.element_size()  # nothing was gathered
        assert stand_in.isnan().all()
        assert wrapping.held(stand_in) is before[name]
    bias = model.get_parameter("head.out.bias")
    bias.requires_grad_(False)
    assert wrapping.end_edits("modules", optimizer)[bias] is before["head.out.bias"]
    after = dict(model.named_parameters())
    assert all(after[name] is parameter for name, parameter in before.items())
    assert checksums(model) == values
    assert not after["head.out.bias"].requires_grad
    wrapping.check(optimizer)
    take_step(wrapping, optimizer)


@pytest.mark.parametrize(
    "change",
    [
        lambda weight: weight.fill_(2.0),
        lambda weight: setattr(weight, "data", weight.data * 0.5),
        lambda weight: setattr(weight, "data", torch.ones_like(weight)),
    ],
)
def test_edits_of_modules_cannot_write_values(wrapped: Wrapped, change: Callable[[nn.Parameter], object]) -> None:
    wrapping, optimizer = wrapped
    wrapping.begin_edits("modules", optimizer)
    weight = wrapping.model.get_parameter("head.out.weight")
    with pytest.raises(RuntimeError) as error, torch.no_grad():
        weight.mul_(2.0)
    assert wrapping.explain(error.value) == 'edits that change values of parameters must declare touches="structure"'
    assert wrapping.explain(RuntimeError("another error")) is None
    with torch.no_grad():
        change(weight)
    with pytest.raises(AuditError, match=r"structure.*an edit of modules has changed head\.out\.weight"):
        wrapping.end_edits("modules", optimizer)


def test_edits_of_modules_may_change_parameters_with_a_single_value(wrapped: Wrapped) -> None:
    wrapping, optimizer = wrapped
    wrapping.model.config.num_labels = 1
    wrapping.begin_edits("modules", optimizer)
    wrapping.model.replace_head("mean", {})
    regroup_after_edit(wrapping.model, optimizer)
    wrapping.end_edits("modules", optimizer)
    bias = wrapping.model.get_parameter("head.out.bias")
    assert bias.shape == (1,)
    wrapping.begin_edits("modules", optimizer)
    with torch.no_grad():
        wrapping.model.get_parameter("head.out.bias").add_(3.0)
    wrapping.end_edits("modules", optimizer)
    assert wrapping.model.get_parameter("head.out.bias") is bias
    assert gather(bias).item() == 3.0


def test_empty_parameters_are_not_split(lone_process: None, accelerator: Accelerator) -> None:
    model = tiny_model("bert")
    model.head.register_parameter("empty", nn.Parameter(torch.zeros(0, 4)))
    wrapping = ShardedModel(accelerator, model, choose_sharding(CONFIG, accelerator))
    optimizer = create_optimizer(model_blocks(model.encoder, model.head), CONFIG)
    wrapping.wrap(optimizer)
    wrapping.check(optimizer)
    empty = model.get_parameter("head.empty")
    assert not is_sharded(empty)
    with wrapping.synchronizing(is_last=True):
        (model(**tiny_batch(), labels=torch.tensor([0, 1, 2])).loss + empty.sum()).backward()
    optimizer.step()
    assert wrapping.gradient_norm().isfinite()


def test_a_mask_changed_by_an_edit_that_declares_nothing_is_accepted_as_with_ddp(wrapped: Wrapped) -> None:
    wrapping, optimizer = wrapped
    wrapping.begin_edits("nothing", optimizer)
    wrapping.model.get_parameter("head.out.weight").requires_grad_(False)
    wrapping.end_edits("nothing", optimizer)
    wrapping.check(optimizer)
    take_step(wrapping, optimizer)


def test_the_encoder_can_be_run_without_the_whole_model(wrapped: Wrapped) -> None:
    wrapping, optimizer = wrapped
    model, inputs = wrapping.model.eval(), tiny_batch()
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    with wrapping.trying_encoder():
        states = model.run_encoder(ids, mask, all_layers=False)
    wrapping.begin_edits("structure", optimizer)
    expected = model.run_encoder(ids, mask, all_layers=False)
    tolerance = 1e-6 if wrapping.compute_dtype is None else 0.1
    torch.testing.assert_close(states.float(), expected, rtol=0, atol=tolerance)
    wrapping.end_edits("structure", optimizer)
    take_step(wrapping, optimizer)


def test_parameters_that_get_no_gradient_are_found_in_split_models(
    lone_process: None, accelerator: Accelerator, tiny_encoder: Path
) -> None:
    model = tiny_model("bert")
    model.get_submodule("encoder.encoder.layer.0").register_parameter("unused", nn.Parameter(torch.zeros(4)))
    wrapping = ShardedModel(accelerator, model, choose_sharding(CONFIG, accelerator))
    tokenizer = load_tokenizer(str(tiny_encoder))
    collator = Collator(tokenizer, SingleLabel(("a", "b")), max_length=32, truncation="head", pair=False)
    EncoderCheck(model, accelerator, tokenizer, collator, RunConfig(max_length=32), wrapping).check()
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen == {"encoder.encoder.layer.0.unused"}
    assert model.unused_parameters == {model.get_parameter("encoder.encoder.layer.0.unused")}


def test_families_that_do_not_call_their_layers_are_refused(lone_process: None, accelerator: Accelerator) -> None:
    wrapping = ShardedModel(accelerator, tiny_model("squeezebert"), choose_sharding(CONFIG, accelerator))
    ids = torch.full((2, 4), 7)
    with pytest.raises(ValueError, match="family 'squeezebert' cannot be run"), wrapping.trying_encoder():
        wrapping.model.run_encoder(ids, torch.ones_like(ids), all_layers=False)


def test_encoders_that_compute_with_parameters_while_they_are_loaded_are_refused(
    lone_process: None, accelerator: Accelerator, tmp_path: Path
) -> None:
    tiny_family_encoder("rwkv").save_pretrained(tmp_path)
    with (
        pytest.raises(ValueError, match="cannot be loaded with --shard"),
        choose_sharding(CONFIG, accelerator).loading(),
    ):
        load_encoder(str(tmp_path))
    load_encoder(str(tmp_path))


def test_new_parameters_are_split_after_an_edit(wrapped: Wrapped) -> None:
    wrapping, optimizer = wrapped
    model = wrapping.model
    layer = model.get_parameter("encoder.encoder.layer.0.output.dense.weight")
    wrapping.begin_edits("modules", optimizer)
    model.replace_head("mean", {})
    new = model.get_parameter("head.out.weight")
    regroup_after_edit(model, optimizer)
    replaced = wrapping.end_edits("modules", optimizer)
    assert replaced[new] is model.get_parameter("head.out.weight")
    assert model.get_parameter("encoder.encoder.layer.0.output.dense.weight") is layer
    wrapping.check(optimizer)
    take_step(wrapping, optimizer)


def test_frozen_parameters_stay_split_and_get_no_gradient(wrapped: Wrapped) -> None:
    wrapping, optimizer = wrapped
    parameter = wrapping.model.get_parameter("head.out.weight")
    wrapping.begin_edits("mask", optimizer)
    assert is_sharded(wrapping.model.get_parameter("head.out.weight"))
    parameter.requires_grad_(False)
    assert not wrapping.fits()
    with pytest.raises(AuditError, match=r"head\.out\.weight"):
        wrapping.check(optimizer)
    assert wrapping.end_edits("mask", optimizer) == {}
    wrapping.check(optimizer)
    before = gather(parameter).clone()
    take_step(wrapping, optimizer)
    assert torch.equal(gather(parameter), before)


def test_single_numbers_stay_whole(wrapped: Wrapped) -> None:
    wrapping, optimizer = wrapped
    wrapping.begin_edits("structure", optimizer)
    wrapping.model.replace_head("scalar_mix", {})
    regroup_after_edit(wrapping.model, optimizer)
    wrapping.end_edits("structure", optimizer)
    gamma = wrapping.model.get_parameter("head.gamma")
    assert not is_sharded(gamma)
    wrapping.check(optimizer)
    before = gamma.detach().clone()
    take_step(wrapping, optimizer)
    assert not torch.equal(gamma, before)


def test_encoder_runs_alone_like_in_a_whole_model(wrapped: Wrapped, accelerator: Accelerator) -> None:
    wrapping, optimizer = wrapped
    expected = tiny_model("bert")
    if accelerator.mixed_precision != "no":
        pytest.skip("layers of a split model compute in bf16 instead of casting their inputs")
    expected.load_state_dict({name: gather(value) for name, value in wrapping.model.state_dict().items()})
    for model in (wrapping.model, expected):
        model.eval()
    with torch.no_grad():
        states = wrapping.model.run_encoder(**tiny_batch(), all_layers=True)
        for layer, whole in zip(states, expected.run_encoder(**tiny_batch(), all_layers=True), strict=True):
            torch.testing.assert_close(layer, whole, rtol=0, atol=1e-6)
    wrapping.restore_parameters()
    wrapping.check(optimizer)
    take_step(wrapping, optimizer)


def test_version_counters_tell_whether_edits_have_changed_values(wrapped: Wrapped) -> None:
    wrapping, optimizer = wrapped
    before = {name: parameter._version for name, parameter in wrapping.model.named_parameters()}
    changed = "encoder.embeddings.word_embeddings.weight"
    wrapping.begin_edits("values", optimizer)
    with torch.no_grad():
        wrapping.model.get_parameter(changed).mul_(2)
    wrapping.end_edits("values", optimizer)
    after = {name: parameter._version for name, parameter in wrapping.model.named_parameters()}
    assert {name for name, version in after.items() if version != before[name]} == {changed}


def test_gradients_accumulate_although_the_encoder_has_never_run(lone_process: None, accelerator: Accelerator) -> None:
    model = tiny_model("bert")
    optimizer = create_optimizer(model_blocks(model.encoder, model.head), CONFIG)
    wrapping = ShardedModel(accelerator, model, choose_sharding(CONFIG, accelerator))
    wrapping.wrap(optimizer)
    batch = tiny_batch()
    batch["hidden_states"] = torch.ones(*batch["input_ids"].shape, model.config.encoder.hidden_size)
    for is_last in (False, True):
        with wrapping.synchronizing(is_last=is_last):
            model(**batch, labels=torch.tensor([0, 1, 2])).loss.backward()
    assert model.get_parameter("head.out.bias").grad is not None


def test_unsplit_parameters_are_found(wrapped: Wrapped) -> None:
    wrapping, optimizer = wrapped
    wrapping.model.head.get_submodule("out").bias = nn.Parameter(torch.zeros(3))
    with pytest.raises(AuditError, match=r"head\.out\.bias is not"):
        wrapping.check(optimizer)


def test_group_size_must_divide_the_number_of_processes(lone_process: None, accelerator: Accelerator) -> None:
    with pytest.raises(ValueError, match=r"--shard_group_size .*1; got 2"):
        choose_sharding(RunConfig(shard="fsdp2", shard_group_size=2), accelerator)
    with pytest.raises(ValueError, match=r"--shard_cpu_offload .*GPU"):
        choose_sharding(RunConfig(shard="fsdp2", shard_cpu_offload=True), accelerator)
