"""Each process holds a part of every parameter, gradient and optimizer state: PyTorch's `fully_shard` (FSDP2)."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method

from research.edits.base import Touches
from research.model.encoder_with_head import EncoderWithHead
from research.model.families import find_family
from research.system.checksums import checksums
from research.system.sharded_random import draw_for_whole_tensors
from research.system.sharded_tensors import device_of_processes, gather, is_sharded
from research.training.audit_error import raise_if
from research.training.wrapping.base import Wrapping
from research.training.wrapping.fully_sharded import (
    complete_sharding,
    reset_dtypes,
    sharded_parameters,
    sharding_states,
    undo_fully_shard,
)
from research.training.wrapping.sharding import Sharding


class ShardedModel(Wrapping):
    """A model of which each process holds a part.

    The forward and the backward pass of a unit (a layer, for example) gather the unit's parameters right before they
    are needed. During edits of values or of the structure, every process has whole parameters: `begin_edits` gathers
    them and undoes the splitting, and `end_edits` splits them again. Before and after edits, a parameter is the same
    object, so that hooks and the optimizer may keep it.
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
        """During edits, the split parameter that each whole one replaces."""

    @property
    def module(self) -> nn.Module:
        """The model itself, of whose class `fully_shard` makes a subclass."""
        return self.model

    @property
    def num_shards(self) -> int:
        """Number of parts into which parameters are split at the moment."""
        return self.sharding.num_shards if isinstance(self.model, FSDPModule) else 1

    @property
    def compute_dtype(self) -> torch.dtype | None:
        """Data type in which layers gather their parameters and compute; None if it is that of the parameters."""
        return self.sharding.precision.param_dtype

    def wrap(self, optimizer: torch.optim.Optimizer) -> None:
        """Split the parameters, and pass the optimizer the split ones."""
        self._split(optimizer)

    def for_evaluation(self, model: EncoderWithHead) -> ShardedModel:
        """Return another model, split in the same way."""
        wrapping = ShardedModel(self.accelerator, model, self.sharding)
        wrapping._split(None)
        return wrapping

    def begin_edits(self, touches: Touches, optimizer: torch.optim.Optimizer) -> None:
        """Make every process hold whole parameters if the edits change values or the structure."""
        self.restore_parameters()
        if touches not in ("values", "structure"):
            return
        whole: dict[nn.Parameter, nn.Parameter] = {}
        for record in sharded_parameters(self.model):
            parameter = record.sharded_param
            # On the device on which the model trains, also if the parts are offloaded to the CPU: edits create new
            # parameters beside the existing ones, and a new head is tried out.
            value = gather(parameter).to(device_of_processes(parameter), copy=True)
            whole[parameter] = nn.Parameter(value, requires_grad=parameter.requires_grad)
            record._setattr_on_modules(whole[parameter])
        if self.accelerator.device.type == "cuda":
            # `fully_shard` gathers parameters in streams of its own, and keeps memory alive that they still use.
            torch.cuda.synchronize()
        undo_fully_shard(self.model)
        vars(self.model).pop("run_encoder")
        self._replace(whole, optimizer)
        self._sharded = {replacement: parameter for parameter, replacement in whole.items()}

    def end_edits(self, touches: Touches, optimizer: torch.optim.Optimizer) -> Mapping[nn.Parameter, nn.Parameter]:
        """Split the parameters again if they are whole, and adapt to the parameters that train."""
        if touches in ("values", "structure"):
            return self._split(optimizer)
        if touches == "mask":
            reset_dtypes(self.model)
            self._set_trainable()
            self._compile()
        return {}

    def synchronizing(self, *, is_last: bool) -> contextlib.AbstractContextManager[None]:
        """Return a context in which gradients are averaged only after the last micro-batch."""
        self._root.set_requires_gradient_sync(is_last)
        return self._averaging_numbers() if is_last else contextlib.nullcontext()

    @contextlib.contextmanager
    def _averaging_numbers(self) -> Iterator[None]:
        """Average the gradients of single numbers, which every process holds, at the end of the context."""
        yield
        for parameter in self.model.parameters():
            if not _can_be_split(parameter) and parameter.grad is not None:
                torch.distributed.all_reduce(parameter.grad)
                parameter.grad /= self.accelerator.num_processes

    def gradient_norm(self) -> Tensor:
        """Return the norm of the gradient of the whole model, []."""
        split = [gradient for gradient in self._gradients() if is_sharded(gradient)]
        norm = gather(torch.nn.utils.get_total_norm(split))
        numbers = [gradient for gradient in self._gradients() if not is_sharded(gradient)]
        # Parts may be offloaded to the CPU; single numbers are not.
        norms = [norm, *(number.to(norm.device) for number in numbers)]
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
            [
                f"{name} is not"
                for parameter, name in names.items()
                if is_sharded(parameter) != _can_be_split(parameter)
            ],
        )
        counts = Counter(record.sharded_param for record in sharded_parameters(self.model))
        raise_if(
            "with --shard every parameter must be in exactly one unit, which gathers it and averages its gradient",
            [f"{name} is in {counts[each]}" for each, name in names.items() if counts[each] != _can_be_split(each)],
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
        expected = checksums(self.model)
        whole = {
            (module, name): parameter
            for module in self.model.modules()
            for name, parameter in module.named_parameters(recurse=False)
        }
        options: dict[str, Any] = {
            "mesh": self.sharding.mesh,
            "mp_policy": self.sharding.precision,
            "offload_policy": self.sharding.offload,
            "ignored_params": {parameter for parameter in self.model.parameters() if not _can_be_split(parameter)},
        }
        for unit in find_units(self.model):
            fully_shard(unit, **options)
        # The rest of the parameters belongs to the whole model. By default, they would stay whole after a forward pass
        # without a backward pass.
        fully_shard(self.model, **options, reshard_after_forward=True)
        register_fsdp_forward_method(self.model, "run_encoder")  # gathers them, too
        replaced: dict[nn.Parameter, nn.Parameter] = {}
        for record in sharded_parameters(self.model):
            parameter = whole[record._module_info.module, record._module_info.param_name]
            if parameter in self._sharded:
                _reuse(record, self._sharded[parameter], parameter)
            replaced[parameter] = record.sharded_param
        self._sharded = {}
        complete_sharding(self.model)
        self._gather_once()
        self._replace(replaced, optimizer)
        self._set_trainable()
        self._compile()
        self._check_values(expected)
        return replaced

    def _gather_once(self) -> None:
        """Let each unit gather its parameters once.

        Otherwise, the backward pass of a micro-batch that is not the last fails if a unit has never run, for example
        because hidden states are read from the cache (https://github.com/pytorch/pytorch/pull/194058).
        """
        for module in sharding_states(self.model):
            assert isinstance(module, FSDPModule)
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

    def _check_values(self, expected: Mapping[str, int]) -> None:
        """Check that the parts of all parameters have the values of the whole parameters.

        Raises:
            AuditError: if they do not; names the parameters.
        """
        found = checksums(self.model)
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


def _can_be_split(parameter: nn.Parameter) -> bool:
    """Return whether a parameter has a dimension along which it can be split. Every process holds single numbers."""
    return parameter.dim() > 0


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
