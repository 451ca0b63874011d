"""Whether all that trains gets a gradient."""

from __future__ import annotations

from accelerate import Accelerator

from research.model.encoder_with_head import EncoderWithHead
from research.system.messages import logger
from research.training.audit import AuditError, check_gradients_arrive, describe_unused, without_gradient


class GradientCheck:
    """Looks for parameters that train and get no gradient: in the first step, and in the first after edits."""

    def __init__(self) -> None:
        self._is_due = True

    def repeat(self) -> None:
        """Look again in the next step: other parameters may train from here on."""
        self._is_due = True

    def check(self, model: EncoderWithHead, accelerator: Accelerator, *, is_compiled: bool) -> None:
        """Look at the gradients after the last backward pass of a step; called on every process.

        Args:
            model: the bare model.
            accelerator: knows how many processes there are.
            is_compiled: whether the model is compiled; then every step is looked at.
        Raises:
            AuditError: if parameters got none, and several processes would wait for them.
        """
        if is_compiled:
            check_gradients_arrive(model)
        elif self._is_due and (unused := without_gradient(model)):
            problem = describe_unused(model, unused)
            if accelerator.num_processes > 1:
                raise AuditError(f"With several processes every parameter needs a gradient: {problem}.")
            logger.warning(f"{problem}.")
        self._is_due = False
