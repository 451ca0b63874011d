"""Each process holds a part of every parameter, gradient and optimizer state: PyTorch's `fully_shard` (FSDP2)."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

from research.edits.base import Touches
from research.model.encoder_with_head import EncoderWithHead
from research.model.families import find_family
from research.model.parameters import replace_parameters
from research.system.checksums import checksums_of
from research.system.errors import one_line
from research.system.sharded_random import draw_for_whole_tensors
from research.system.sharded_tensors import device_of_processes, gather, is_sharded
from research.training.audit_error import raise_if
from research.training.wrapping.base import Wrapping
from research.training.wrapping.fully_sharded import (
    complete_sharding,
    forget_forward_passes,
    has_run,
    modules_that_never_ran,
    reset_dtypes,
    sharded_parameters,
    sharding_states,
    undo_fully_shard,
    use_split_parameter,
)
from research.training.wrapping.sharding import Sharding, can_be_split

VALUES_RULE = 'edits that change values of parameters must declare touches="structure"'


class ShardedModel(Wrapping):
    """A model of which each process holds a part.

    The forward and the backward pass of a unit (a layer, for example) gather the unit's parameters right before they
    are needed. During edits of modules, whole parameters without values stand for the split ones. During edits of
    values or of the structure, every process gathers whole parameters. `end_edits` splits the model again. Before and
    after edits, a parameter is the same object, so that hooks and the optimizer may keep it.

    Args:
        accelerator: determines device, precision and processes.
        model: the bare model. Its parameters may be whole, or split already by `Sharding.without_values`.
        sharding: how parameters are split.
        compile_backend: backend of torch.compile; None does not compile the model.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        model: EncoderWithHead,
        sharding: Sharding,
        compile_backend: str | None = None,
    ) -> None:
        super().__init__(accelerator, model, compile_backend)
        self.sharding = sharding
        draw_for_whole_tensors()
        self._sharded: dict[nn.Parameter, nn.Parameter] = {}
        """During edits, the split parameter for which each whole one stands."""
        self._stand_ins: dict[nn.Parameter, tuple[int, int]] = {}
        """Whole parameters without values, each with the address of its memory and its version counter."""
        self._hold_whole(None, gathers=False)
        self._split(None)

    @property
    def module(self) -> nn.Module:
        """The model itself, of whose class `fully_shard` makes a subclass."""
        return self.model

    @property
    def num_shards(self) -> int:
        """Number of parts of each split parameter."""
        return self.sharding.num_shards

    @contextlib.contextmanager
    def trying_encoder(self) -> Iterator[None]:
        """Return a context for first forward passes of the encoder, without a backward pass.

        Raises:
            ValueError: if the encoder cannot be run, because it reads parameters that are not gathered.
        """
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise ValueError(
                f"Encoders of the family '{self.model.config.encoder.model_type}' cannot be run with --shard: "
                f"{one_line(error).rstrip('.!')}. With --shard, an encoder must call a layer to read its parameters. "
                "Train without --shard."
            ) from error
        finally:
            self.restore_parameters()
            forget_forward_passes(self.model)

    def original(self, leaf: Tensor) -> Tensor:
        """Return the split parameter for which a leaf of an autograd graph was gathered."""
        for record in sharded_parameters(self.model):
            if has_run(record) and record.unsharded_param is leaf:
                split: nn.Parameter = record.sharded_param
                return split
        return leaf

    @property
    def compute_dtype(self) -> torch.dtype | None:
        """Data type in which layers gather their parameters and compute; None if it is that of the parameters."""
        return self.sharding.precision.param_dtype

    def wrap(self, optimizer: torch.optim.Optimizer) -> None:
        """Split the parameters again if they were edited, and adapt to those that train."""
        self.end_edits("mask" if isinstance(self.model, FSDPModule) else "structure", optimizer)

    def for_evaluation(self, folder: Path) -> ShardedModel:
        """Load a saved model, and return it, split in the same way."""
        with self.sharding.loading():
            model = EncoderWithHead.from_pretrained(folder)
        return ShardedModel(self.accelerator, model, self.sharding)

    def begin_edits(self, touches: Touches, optimizer: torch.optim.Optimizer) -> None:
        """Make whole parameters stand for the split ones, with their values if the edits change those."""
        self.restore_parameters()
        if touches not in ("modules", "values", "structure"):
            return
        undo_fully_shard(self.model)
        vars(self.model).pop("run_encoder")
        self._hold_whole(optimizer, gathers=touches != "modules")
        if self.accelerator.device.type == "cuda":
            # `fully_shard` gathers parameters in streams of its own, and keeps memory alive that they still use.
            torch.cuda.synchronize()

    def explain(self, error: RuntimeError) -> str | None:
        """Return what the user should change in an edit that has raised an error; None if it is not known."""
        if self._stand_ins and "single memory location" in str(error):
            return VALUES_RULE
        return None

    def _hold_whole(self, optimizer: torch.optim.Optimizer | None, *, gathers: bool) -> None:
        """Make whole parameters stand for the split ones.

        Args:
            optimizer: the run's optimizer, if it exists.
            gathers: whether they have the values of the split ones. Parameters with a single value always do, since a
                stand-in for them could be written to.
        """
        whole: dict[nn.Parameter, nn.Parameter] = {}
        for parameter in filter(is_sharded, self.model.parameters()):
            if gathers or parameter.numel() == 1:
                whole[parameter] = _gathered(parameter)
            else:
                whole[parameter] = _without_values(parameter, self.accelerator.device)
                self._stand_ins[whole[parameter]] = _memory_state(whole[parameter])
        replace_parameters(self.model, lambda parameter: whole.get(parameter, parameter))
        self._replace(whole, optimizer)
        self._sharded = {replacement: parameter for parameter, replacement in whole.items()}

    def held(self, tensor: Tensor) -> Tensor:
        """Return the split parameter for which a parameter without values stands; other tensors as they are."""
        return self._sharded[tensor] if tensor in self._stand_ins else tensor  # type: ignore[index]

    def end_edits(self, touches: Touches, optimizer: torch.optim.Optimizer) -> Mapping[nn.Parameter, nn.Parameter]:
        """Split the parameters again if they are whole, and adapt to the parameters that train."""
        replaced: Mapping[nn.Parameter, nn.Parameter] = {}
        if touches in ("modules", "values", "structure"):
            replaced = self._split(optimizer)
        elif touches == "mask" or not self.fits():
            reset_dtypes(self.model)
            self._set_trainable()
        if touches != "nothing":
            self._compile()
        return replaced

    def synchronizing(self, *, is_last: bool) -> contextlib.AbstractContextManager[None]:
        """Return a context in which gradients are averaged only after the last micro-batch."""
        self._root.set_requires_gradient_sync(is_last)
        if not is_last:
            self._gather_once()
        return self._averaging_numbers() if is_last else contextlib.nullcontext()

    @contextlib.contextmanager
    def _averaging_numbers(self) -> Iterator[None]:
        """Average the gradients of single numbers, which every process holds, at the end of the context."""
        yield
        for parameter in self.model.parameters():
            if not can_be_split(parameter) and parameter.grad is not None:
                torch.distributed.all_reduce(parameter.grad)
                parameter.grad /= self.accelerator.num_processes

    def gradient_norm(self) -> Tensor:
        """Return the norm of the gradient of the whole model, []."""
        split = [gradient for gradient in self._gradients() if is_sharded(gradient)]
        norm = gather(torch.nn.utils.get_total_norm(split))
        numbers = [gradient for gradient in self._gradients() if not is_sharded(gradient)]
        # Parts may be offloaded to the CPU; single numbers are not.
        norms = [norm, *(torch.linalg.vector_norm(number).to(norm.device) for number in numbers)]
        return torch.linalg.vector_norm(torch.stack(norms)) if numbers else norm

    def restore_parameters(self) -> None:
        """Make the modules hold the split parameters, instead of whole ones that a forward pass may have left."""
        for module in sharding_states(self.model):
            assert isinstance(module, FSDPModule)
            module.reshard()

    def check(self, optimizer: torch.optim.Optimizer) -> None:
        """Check that every parameter is split, and that its unit averages its gradient.

        Raises:
            AuditError: if not; names the parameters.
        """
        names = {parameter: name for name, parameter in self.model.named_parameters()}
        raise_if(
            "with --shard every parameter must be split over the processes",
            [f"{name} is not" for parameter, name in names.items() if is_sharded(parameter) != can_be_split(parameter)],
        )
        counts = Counter(record.sharded_param for record in sharded_parameters(self.model))
        raise_if(
            "with --shard every parameter must be in exactly one unit, which gathers it and averages its gradient",
            [f"{name} is in {counts[each]}" for each, name in names.items() if counts[each] != can_be_split(each)],
        )
        states = sharding_states(self.model)
        root = states[self.model]
        known = {id(state) for state in root._state_ctx.all_states}
        module_names = {module: name for name, module in self.model.named_modules()}
        raise_if(
            "with --shard the model must know all of its units",
            [
                f"{module_names[module] or 'the model'} is unknown"
                for module, state in states.items()
                if id(state) not in known or state._state_ctx is not root._state_ctx
            ]
            + ["a removed unit is still known"] * (len(known) > len({id(state) for state in states.values()})),
        )
        raise_if(
            "with --shard exactly the parameters that train must be averaged",
            [f"{name} (changed)" for name in self.differing_parameters()],
        )

    @property
    def _root(self) -> FSDPModule:
        assert isinstance(self.model, FSDPModule), "the model is not split"
        return self.model

    def _split(self, optimizer: torch.optim.Optimizer | None) -> Mapping[nn.Parameter, nn.Parameter]:
        """Split all parameters; return the split parameter that replaces each whole one."""
        self._check_stand_ins()
        expected = self._checksums()
        before = {
            (module, name): parameter
            for module in self.model.modules()
            for name, parameter in module.named_parameters(recurse=False)
        }
        replace_parameters(self.model, lambda each: _on_meta(each) if each in self._stand_ins else each)
        options: dict[str, Any] = {
            "mesh": self.sharding.mesh,
            "mp_policy": self.sharding.precision,
            "offload_policy": self.sharding.offload,
            "ignored_params": {parameter for parameter in self.model.parameters() if not can_be_split(parameter)},
        }
        for unit in find_units(self.model):
            fully_shard(unit, **options)
        # The rest of the parameters belongs to the whole model. By default, they would stay whole after a forward pass
        # without a backward pass.
        fully_shard(self.model, **options, reshard_after_forward=True)
        register_fsdp_forward_method(self.model, "run_encoder")  # gathers them, too
        replaced: dict[nn.Parameter, nn.Parameter] = {}
        for record in sharded_parameters(self.model):
            parameter = before[record._module_info.module, record._module_info.param_name]
            if parameter in self._stand_ins:
                use_split_parameter(record, self._sharded[parameter])
            elif parameter in self._sharded:
                _reuse(record, self._sharded[parameter], parameter)
            replaced[parameter] = record.sharded_param
        self._sharded, self._stand_ins = {}, {}
        complete_sharding(self.model)
        self._replace(replaced, optimizer)
        self._set_trainable()
        self._check_values(expected)
        return replaced

    def _gather_once(self) -> None:
        """Let each unit that has never run gather its parameters once.

        Otherwise, the backward pass of a micro-batch that is not the last fails. Units do not run if hidden states are
        read from the cache, for example. See https://github.com/pytorch/pytorch/pull/194058.
        """
        for module in modules_that_never_ran(self.model):
            module.unshard()
            module.reshard()

    def _replace(self, replaced: Mapping[nn.Parameter, nn.Parameter], optimizer: torch.optim.Optimizer | None) -> None:
        """Replace parameters wherever the model and the optimizer store them."""
        model = self.model
        model.unused_parameters = {replaced.get(parameter, parameter) for parameter in model.unused_parameters}
        if optimizer is not None:
            for group in optimizer.param_groups:
                group["params"] = [replaced.get(parameter, parameter) for parameter in group["params"]]
            for old, new in replaced.items():
                if old in optimizer.state:
                    optimizer.state[new] = optimizer.state.pop(old)

    def _compile(self) -> None:
        """Compile each layer: the code between them gathers parameters, which cannot be compiled."""
        if self.compile_backend is not None:
            torch._dynamo.reset()
            for layer in find_layers(self.model):
                layer.compile(backend=self.compile_backend)

    def _check_stand_ins(self) -> None:
        """Check that no edit of modules has changed the values of parameters that stay in the model.

        Raises:
            AuditError: if one has; names the parameters.
        """
        raise_if(
            VALUES_RULE,
            [
                f"an edit of modules has changed {name}"
                for name, parameter in self.model.named_parameters()
                if parameter in self._stand_ins and _memory_state(parameter) != self._stand_ins[parameter]
            ],
        )

    def _checksums(self) -> dict[str, int]:
        """Return the checksums of all parameters and saved buffers."""
        tensors = self.model.state_dict(keep_vars=True)
        return checksums_of({name: self.held(tensor) for name, tensor in tensors.items()})

    def _check_values(self, expected: Mapping[str, int]) -> None:
        """Check that the parts of all parameters have the values of the whole parameters.

        Raises:
            AuditError: if they do not; names the parameters.
        """
        found = self._checksums()
        raise_if(
            "splitting parameters over the processes must not change their values",
            [f"{name} has changed" for name, number in expected.items() if found[name] != number],
        )


def find_layers(model: EncoderWithHead) -> list[nn.Module]:
    """Return the encoder's layers, as far as they are known."""
    return [
        layer for name in find_family(model.encoder).layers for layer in model.encoder.get_submodule(name).children()
    ]


def find_units(model: EncoderWithHead) -> list[nn.Module]:
    """Return the modules that gather their parameters at once; the other parameters belong to the whole model.

    They are the layers, the embeddings of words, and the head. A module that shares parameters with others is not a
    unit. The encoder is no unit, either, because Transformers recognises models that return hidden states of all layers
    by their class, and splitting a module changes its class.
    """
    candidates = [*find_layers(model), model.encoder.get_input_embeddings(), model.head]
    owners = Counter(
        id(parameter) for module in model.modules() for parameter in set(module._parameters.values()) - {None}
    )
    return [
        module
        for module in candidates
        if any(True for _ in module.parameters()) and all(owners[id(each)] == 1 for each in module.parameters())
    ]


def _without_values(parameter: nn.Parameter, device: torch.device) -> nn.Parameter:
    """Return a whole parameter that stands for a split one: a single NaN in memory, which cannot be written to."""
    number = torch.full((), torch.nan, dtype=parameter.dtype, device=device)
    return nn.Parameter(number.expand(parameter.shape), parameter.requires_grad)


def _memory_state(parameter: nn.Parameter) -> tuple[int, int]:
    """Return the address of a parameter's memory and its version counter, which PyTorch increases with each change."""
    return parameter.untyped_storage().data_ptr(), parameter._version


def _on_meta(parameter: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(torch.empty(parameter.shape, dtype=parameter.dtype, device="meta"), parameter.requires_grad)


def _gathered(parameter: nn.Parameter) -> nn.Parameter:
    """Return a whole parameter with the values of a split one; called on every process.

    It is on the device on which the model trains, also if the parts are offloaded to the CPU: edits create new
    parameters beside the existing ones, and a new head is tried out.
    """
    return nn.Parameter(gather(parameter).to(device_of_processes(parameter), copy=True), parameter.requires_grad)


def _reuse(record: Any, parameter: Any, whole: nn.Parameter) -> None:
    """Let PyTorch's record of a split parameter use an earlier parameter, if it has the same shape and data type.

    Args:
        record: PyTorch's record.
        parameter: the earlier parameter.
        whole: the whole parameter that replaced it during the edits. If they have changed its values, the version
            counter of the earlier parameter is increased, as after a change in place.
    """
    new = record.sharded_param
    if parameter.shape == new.shape and parameter.dtype == new.dtype:
        parameter._local_tensor, parameter._spec = new._local_tensor, new._spec
        parameter.requires_grad_(new.requires_grad)
        if whole._version > 0:
            torch.autograd.graph.increment_version(parameter)
        record.sharded_param = parameter
        record._setattr_on_modules(parameter)
