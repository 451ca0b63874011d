"""Every process holds the whole model; DDP averages the gradients if there are several processes."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from research.edits.base import Touches
from research.model.encoder_with_head import EncoderWithHead
from research.training.audit_error import AuditError
from research.training.wrapping.base import Wrapping


class ReplicatedModel(Wrapping):
    """A whole copy of the model on every process."""

    def __init__(self, accelerator: Accelerator, model: EncoderWithHead, compile_backend: str | None = None) -> None:
        super().__init__(accelerator, model, compile_backend)
        self._module: nn.Module = model

    @property
    def module(self) -> nn.Module:
        """The model in DDP; the model itself if there is one process."""
        return self._module

    def wrap(self, optimizer: torch.optim.Optimizer) -> None:
        """Compile the model, and add DDP."""
        self._set_trainable()
        if self.compile_backend is not None:
            self.model.compile(backend=self.compile_backend)
        if self.accelerator.num_processes > 1 and self.trainable:
            # Not through accelerate, which wraps no model without trainable parameters. The weights of the first
            # process are not broadcast (init_sync=False), since this would hide differences between the processes.
            ids = [self.accelerator.local_process_index] if self.accelerator.device.type == "cuda" else None
            settings = self.accelerator.ddp_handler.to_kwargs()
            with _mute_buffer_warning():
                self._module = DistributedDataParallel(self.model, device_ids=ids, init_sync=False, **settings)

    def for_evaluation(self, folder: Path) -> ReplicatedModel:
        """Load a saved model, and return it without DDP, which evaluations do not need."""
        return ReplicatedModel(self.accelerator, EncoderWithHead.from_pretrained(folder))

    def begin_edits(self, touches: Touches, optimizer: torch.optim.Optimizer) -> None:
        """Prepare nothing: every process holds whole parameters."""

    def end_edits(self, touches: Touches, optimizer: torch.optim.Optimizer) -> Mapping[nn.Parameter, nn.Parameter]:
        """Create the wrappers again if different parameters train.

        DDP registers only the parameters that are trainable when it is created, and dynamo's guards do not notice later
        changes (https://github.com/pytorch/pytorch/issues/139476).
        """
        if (self.is_compiled and touches in ("mask", "modules", "structure")) or not self.fits():
            if self.is_compiled:
                torch._dynamo.reset()
            self.wrap(optimizer)
        return {}

    def synchronizing(self, *, is_last: bool) -> AbstractContextManager[None]:
        """Return DDP's `no_sync`, except for the last micro-batch."""
        return contextlib.nullcontext() if is_last else self.accelerator.no_sync(self._module)

    def restore_parameters(self) -> None:
        """Restore nothing: forward passes do not replace parameters."""

    def check(self, optimizer: torch.optim.Optimizer) -> None:
        """Check that DDP averages the gradients of exactly the parameters that train.

        Raises:
            AuditError: if not; names the parameters.
        """
        if self.accelerator.num_processes == 1:
            return
        trainable = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        expected = (len(trainable), sum(parameter.numel() * parameter.element_size() for parameter in trainable))
        sizes = self._reduced_sizes()
        differing = self.differing_parameters()
        if differing or sizes != expected:
            listed = ", ".join(differing) or "none (only the sizes differ)"
            raise AuditError(
                "Audit: DDP must average exactly the parameters that train; expected (tensors, bytes) "
                f"{expected}, found {sizes} in its reducer. Differing parameters: {listed}."
            )

    def _reduced_sizes(self) -> tuple[int, int] | None:
        """Return the number of tensors that DDP's reducer averages and their size in bytes; None without DDP."""
        if not isinstance(self._module, DistributedDataParallel):
            return None
        facts = self._module._get_ddp_logging_data()
        return int(facts["num_parameter_tensors"]), int(facts["total_parameter_size_bytes"])


@contextlib.contextmanager
def _mute_buffer_warning() -> Iterator[None]:
    """Suppress DDP's warning that broadcast_buffers is deprecated: its replacement exists only since torch 2.13."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
        yield
