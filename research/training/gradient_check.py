"""Check that every trainable parameter gets a gradient."""

from __future__ import annotations

from accelerate import Accelerator

from research.model.encoder_with_head import EncoderWithHead
from research.system.messages import logger
from research.training.audit import check_gradients_arrive, describe_unused, parameters_without_gradient
from research.training.audit_error import AuditError


class GradientCheck:
    """Finds trainable parameters without a gradient, in the first step and in the first step after edits.

    If the model is compiled, every step is checked.
    """

    def __init__(self) -> None:
        self._is_due = True

    def repeat_in_next_step(self) -> None:
        """Make the check due again, since different parameters may train from now on."""
        self._is_due = True

    def check(self, model: EncoderWithHead, accelerator: Accelerator, *, is_compiled: bool) -> None:
        """Check the gradients after the last backward pass of a step; called on every process.

        Args:
            model: the bare model.
            accelerator: gives the number of processes.
            is_compiled: whether the model is compiled.
        Raises:
            AuditError: if a trainable parameter has no gradient, and the model is compiled or there are several
                processes (DDP would wait for the gradient). In all other cases, a warning is logged.
        """
        if is_compiled:
            check_gradients_arrive(model)
        elif self._is_due and (unused := parameters_without_gradient(model)):
            problem = describe_unused(model, unused)
            if accelerator.num_processes > 1:
                raise AuditError(f"With several processes every parameter needs a gradient: {problem}.")
            logger.warning(f"{problem}.")
        self._is_due = False
