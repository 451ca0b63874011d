"""Adversarial training with the fast gradient method."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from research.data.batches.batch import Batch
from research.training.hook import Hook, register_hook

if TYPE_CHECKING:
    from research.training.api import Run


@register_hook("fgm")
class FastGradientMethod(Hook):
    """Adversarial training with the fast gradient method (FGM).

    After each backward pass, the embedded tokens of each row are moved in the direction in which the loss rises
    fastest. A second pass uses the moved tokens, and its gradients are added to those of the first. This hook does not
    work with `--compile` and `--long_texts windows`.

    Source: Miyato, Dai & Goodfellow 2017, Adversarial Training Methods for Semi-Supervised Text Classification, eq. 4.
    Differs: the paper normalises the embeddings to variance 1; here, the embeddings stay as they are, and the move is
    scaled to them. Each row is moved by its own gradient and scale, so that the result does not depend on micro-batches
    or the number of processes.

    Args:
        epsilon: length of the move: its L2 norm over all tokens of a row, in units of the root mean square of the row's
            word embeddings. The paper uses 5.
    """

    works_compiled = False
    works_with_windows = False

    def __init__(self, *, epsilon: float = 5.0) -> None:
        if epsilon <= 0:
            raise ValueError(f"Expected an epsilon above 0, got {epsilon}.")
        self.epsilon = epsilon
        self._handle: RemovableHandle | None = None
        self._embedded: Tensor | None = None
        self._shift: Tensor | None = None

    def on_train_start(self, run: Run) -> None:
        """Register a forward hook on the word embeddings."""
        self._handle = run.encoder_with_head.encoder.get_input_embeddings().register_forward_hook(self._keep_or_move)

    def on_resume(self, run: Run) -> None:
        """Register a forward hook on the word embeddings."""
        self.on_train_start(run)

    def after_backward(self, run: Run, batch: Batch) -> None:
        """Move the embedded tokens, and add the gradients of a second pass."""
        assert self._embedded is not None, "the forward pass did not use the word embeddings"
        gradient = self._embedded.grad
        assert gradient is not None, "no gradient reached the embeddings"
        mask = batch.inputs["attention_mask"].unsqueeze(-1)  # (batch, seq, 1)
        gradient = gradient.float() * mask
        norm = gradient.flatten(1).norm(dim=1).view(-1, 1, 1)
        length = self.epsilon * _root_mean_square(self._embedded.detach().float(), mask)
        # Rows with weight 0 are not part of the loss, so their gradient is 0. A gradient that overflowed (fp16) has no
        # usable direction. Neither kind of row is moved.
        usable = (norm > 0) & norm.isfinite()
        self._shift = torch.where(usable, length * gradient / norm, 0.0)
        try:
            run.backward(batch)
        finally:
            self._shift = self._embedded = None

    def on_train_end(self, run: Run) -> None:
        """Remove the forward hook."""
        self._remove_forward_hook()

    def on_exception(self, run: Run, error: BaseException) -> None:
        """Remove the forward hook."""
        self._remove_forward_hook()

    def _keep_or_move(self, module: nn.Module, inputs: Any, embedded: Tensor) -> Tensor | None:
        """In the first pass, keep the embedded tokens; in the second pass, move them."""
        if not torch.is_grad_enabled():  # in evaluations
            return None
        if self._shift is not None:
            return embedded + self._shift.to(embedded.dtype)
        if not embedded.requires_grad:  # the embeddings are frozen
            embedded.requires_grad_()
        embedded.retain_grad()
        self._embedded = embedded
        return None

    def _remove_forward_hook(self) -> None:
        if self._handle is not None:
            self._handle.remove()


def _root_mean_square(embedded: Float[Tensor, "batch seq hidden"], mask: Int[Tensor, "batch seq 1"]) -> Tensor:
    """Return the root mean square of the entries of each row's embedded tokens, without padding: (batch, 1, 1)."""
    num_entries = mask.sum(dim=(1, 2)) * embedded.shape[-1]
    return ((embedded * mask).square().sum(dim=(1, 2)) / num_entries).sqrt().view(-1, 1, 1)
