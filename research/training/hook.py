"""The base class of hooks: objects whose methods the training loop calls at fixed points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from heads.registry import Registry, UnknownNameError, describe_unknown
from research.data.batches.batch import Batch
from research.system.user_code import ErrorsAttributedTo, describe_location

if TYPE_CHECKING:
    from research.settings.config import RunConfig
    from research.training.api import Run


class Hook:
    """Base class of all hooks. Every point does nothing unless a subclass overrides it.

    The loop calls each point on every process, for one hook after the other, in the order of the list of hooks. The
    first argument is always the run. The keyword-only parameters of `__init__` are the hook's options. A hook with
    state returns it from `state_dict` and restores it in `load_state_dict`, so that a resumed run continues exactly.

    A method whose name starts with `on_`, `after_`, `before_` or `end_` must be a point; otherwise defining the class
    raises an error, since the method would never be called. Start the names of your own methods with an underscore.
    """

    works_compiled: ClassVar[bool] = True
    """Whether the hook supports compiled models (`--compile`)."""
    works_with_windows: ClassVar[bool] = True
    """Whether the hook supports texts that are cut into windows (`--long_texts windows`). The encoder then runs several
    times per batch, on the windows instead of the batch's rows."""
    kept_files: ClassVar[tuple[str, ...]] = ()
    """Files and folders in the run directory that belong to the hook's state. Each checkpoint keeps their contents, and
    a resumed run restores them. In such a folder, replace files instead of writing into them, because checkpoints may
    contain hard links to them."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        refuse_misspelt_points(cls)

    def timeline(self, config: RunConfig, blocks: Sequence[str]) -> list[dict[str, Any]]:
        """Return the edits that the hook can plan before training, as entries of a timeline.

        They are rehearsed before training, and `--dry_run` shows them.

        Args:
            config: the run's settings.
            blocks: names of the model's blocks: embeddings, layer.0, ..., rest (if the encoder has one), head.
        """
        return []

    def on_train_start(self, run: Run) -> None:
        """Called before the run's first step, unless the hook's state was loaded from a checkpoint."""

    def on_resume(self, run: Run) -> None:
        """Called instead of `on_train_start` if the hook's state was loaded from a checkpoint."""

    def on_epoch_start(self, run: Run) -> None:
        """Called before the first step of each epoch."""

    def on_batch(self, run: Run, batch: Batch) -> Batch | None:
        """Called before the forward pass of each micro-batch; may return a changed batch.

        A changed batch must have the same number of rows. To exclude a row from the loss, set its weight to 0.
        """

    def after_backward(self, run: Run, batch: Batch) -> None:
        """Called after the backward pass of each micro-batch. `run.backward(batch)` adds a second pass."""

    def before_step(self, run: Run) -> None:
        """Called before the optimizer update, when the gradients are complete and unscaled but not yet clipped."""

    def after_step(self, run: Run) -> None:
        """Called after each step. `run.last_step` holds the step's metrics."""

    def before_evaluate(self, run: Run, split: str) -> None:
        """Called before each evaluation.

        Args:
            run: the run.
            split: train, validation or test.
        """

    def after_evaluate(self, run: Run, split: str, metrics: dict[str, float]) -> None:
        """Called after each evaluation.

        Args:
            run: the run.
            split: train, validation or test.
            metrics: the metrics by name; empty if the split has no labels.
        """

    def after_edits(self, run: Run) -> None:
        """Called after edits were applied and audited. `run.latest_edits` holds their records."""

    def end_of_step(self, run: Run) -> None:
        """Called at the very end of each step, when no edits are pending. Checkpoints are saved here."""

    def on_epoch_end(self, run: Run) -> None:
        """Called after the last step of each epoch."""

    def on_train_end(self, run: Run) -> None:
        """Called after the last step of the run, also if the run stops early."""

    def on_exception(self, run: Run, error: BaseException) -> None:
        """Called if an error or an interrupt ends training."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a resumed run needs: plain values and tensors."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state that `state_dict` returned."""


HOOKS: Registry[type[Hook]] = Registry("hook", Hook, built_in="research.hooks")
register_hook = HOOKS.register


def describe_hook(hook: Hook) -> str:
    """Return the hook's name for messages: the registered name, or the class name if it is not registered."""
    return f"hook '{HOOKS.name_of(type(hook)) or type(hook).__name__}'"


def errors_attributed_to_hook(hook: Hook, method: str) -> ErrorsAttributedTo:
    """Return a context in which errors raised in a hook's code are attributed to the hook and its method."""
    return ErrorsAttributedTo(f"{describe_hook(hook)} ({method})", getattr(type(hook), method))


def check_batch(hook: Hook, returned: object, batch: Batch) -> None:
    """Check that a hook returned a batch with the same number of rows.

    A different number would change the loss, which is divided by the number of rows of the global batch.

    Args:
        hook: the hook.
        returned: the return value of its `on_batch`.
        batch: the batch that was passed to `on_batch`.
    Raises:
        ValueError: if the hook returned anything else; names the hook and describes the return value.
    """
    where = describe_location(type(hook).on_batch)
    if not isinstance(returned, Batch):
        raise ValueError(
            f"Expected a Batch or None from on_batch of the {describe_hook(hook)}, got "
            f"{type(returned).__name__}{where}."
        )
    for name, value in {
        **returned.inputs,
        "labels": returned.labels,
        "weights": returned.weights,
        "ids": returned.ids,
    }.items():
        for tensor in value if isinstance(value, tuple) else (value,):
            num_rows = tensor.shape[0] if isinstance(tensor, Tensor) and tensor.dim() else None
            if num_rows != len(batch):
                found = type(tensor).__name__ if num_rows is None else f"{num_rows} rows"
                raise ValueError(
                    f"Expected {len(batch)} rows in the {name} of the batch that on_batch of the {describe_hook(hook)} "
                    f"returned, as in its input; found {found}{where}. To exclude a row, set its weight to 0."
                )


POINTS = tuple(
    name for name in vars(Hook) if name.startswith(("on_", "after_", "before_", "end_")) and callable(vars(Hook)[name])
)
"""Names of all points."""


def refuse_misspelt_points(hook: type[Hook]) -> None:
    """Refuse a hook with a method that is named like a point but is not a point, since it would never be called.

    Raises:
        UnknownNameError: if there is such a method; suggests the point with the nearest name.
    """
    for name in vars(hook):
        if name.startswith(("on_", "after_", "before_", "end_")) and name not in POINTS:
            raise UnknownNameError(
                describe_unknown("point", name, POINTS, listed_as="Points")
                + f" (In {hook.__qualname__}. Start the names of your own methods with an underscore.)"
            )
