"""What a hook is: a small object whose methods the loop calls at named points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from heads.registry import Registry, UnknownNameError, describe_unknown
from research.data.batches.batch import Batch
from research.system.user_code import CodeOf, describe_location

if TYPE_CHECKING:
    from research.settings.config import RunConfig
    from research.training.api import Run


class Hook:
    """Base of all hooks: every point is a no-op.

    Each point gets the run first, is called on every process, and in the order in which the hooks are listed. A hook
    with state returns it from `state_dict` as plain values or tensors, and takes it back in `load_state_dict`. The
    keyword-only options of `__init__` are the hook's settings.
    """

    works_compiled: ClassVar[bool] = True
    """Whether the hook can take part in a run with --compile."""
    kept_files: ClassVar[tuple[str, ...]] = ()
    """Files and folders of the run directory that belong to the hook's state: checkpoints hold what they are at the
    time, and a resumed run finds them as they were. Files of such a folder are replaced, never written to in place."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        refuse_misspelt_points(cls)

    def timeline(self, config: RunConfig, blocks: Sequence[str]) -> list[dict[str, Any]]:
        """Return edits that can be planned before training, as a recipe's timeline writes them; --dry_run shows them.

        Args:
            config: the run's settings.
            blocks: names of the model's blocks: embeddings, layer.0, ..., rest (where there is one), head.
        """
        return []

    def on_train_start(self, run: Run) -> None:
        """Before the first step of a new run."""

    def on_resume(self, run: Run) -> None:
        """Instead of on_train_start, when a checkpoint was loaded."""

    def on_epoch_start(self, run: Run) -> None:
        """Before the first step of an epoch."""

    def on_batch(self, run: Run, batch: Batch) -> Batch | None:
        """Before a micro-batch's forward pass; may return a changed batch."""

    def after_backward(self, run: Run, batch: Batch) -> None:
        """After a micro-batch's backward pass; `run.backward(batch)` adds a second one."""

    def before_step(self, run: Run) -> None:
        """When gradients are complete and unscaled, and not yet clipped."""

    def after_step(self, run: Run) -> None:
        """After the optimizer's step; `run.last_step` holds its metrics."""

    def before_evaluate(self, run: Run, split: str) -> None:
        """Before an evaluation."""

    def after_evaluate(self, run: Run, split: str, metrics: dict[str, float]) -> None:
        """After an evaluation, with its metrics."""

    def after_edits(self, run: Run) -> None:
        """After edits were applied and audited."""

    def end_of_step(self, run: Run) -> None:
        """Last of all in a step; no edit is pending. The place for checkpoints."""

    def on_epoch_end(self, run: Run) -> None:
        """After the last step of an epoch."""

    def on_train_end(self, run: Run) -> None:
        """After the last step of the run."""

    def on_exception(self, run: Run, error: BaseException) -> None:
        """When training ends with an error or an interrupt."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run must know: plain values and tensors."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` returned."""


HOOKS: Registry[type[Hook]] = Registry("hook", Hook, built_in="research.hooks")
register_hook = HOOKS.register


def describe_hook(hook: Hook) -> str:
    """Return what messages call a hook: by its registered name, or by its class."""
    return f"hook '{HOOKS.name_of(type(hook)) or type(hook).__name__}'"


def code_of_hook(hook: Hook, method: str) -> CodeOf:
    """Return a context in which a hook's method is called."""
    return CodeOf(f"{describe_hook(hook)} ({method})", getattr(type(hook), method))


def check_batch(hook: Hook, changed: object, batch: Batch) -> None:
    """Refuse a changed batch that is none, or has other rows: the loss is divided by the number of the step's rows.

    Args:
        hook: what changed it.
        changed: what its on_batch returned.
        batch: what it got.
    Raises:
        ValueError: naming the hook, and what it returned.
    """
    where = describe_location(type(hook).on_batch)
    if not isinstance(changed, Batch):
        raise ValueError(
            f"Expected a Batch or None from on_batch of the {describe_hook(hook)}, got {type(changed).__name__}{where}."
        )
    for name, value in {
        **changed.inputs,
        "labels": changed.labels,
        "weights": changed.weights,
        "ids": changed.ids,
    }.items():
        for tensor in value if isinstance(value, tuple) else (value,):
            num_rows = tensor.shape[0] if isinstance(tensor, Tensor) and tensor.dim() else None
            if num_rows != len(batch):
                found = type(tensor).__name__ if num_rows is None else f"{num_rows} rows"
                raise ValueError(
                    f"Expected {len(batch)} rows in the {name} of the batch that on_batch of the {describe_hook(hook)} "
                    f"returned, as in the batch that it got; found {found}{where}. A weight of 0 leaves a row out."
                )


POINTS = tuple(
    name for name in vars(Hook) if name.startswith(("on_", "after_", "before_", "end_")) and callable(vars(Hook)[name])
)


def refuse_misspelt_points(hook: type[Hook]) -> None:
    """Refuse a hook with a method that looks like a point but is none, since it would never be called.

    Raises:
        UnknownNameError: naming the nearest point.
    """
    for name in vars(hook):
        if name.startswith(("on_", "after_", "before_", "end_")) and name not in POINTS:
            raise UnknownNameError(
                describe_unknown("point", name, POINTS, listed_as="Points")
                + f" (In {hook.__qualname__}; begin a method of your own with an underscore.)"
            )
