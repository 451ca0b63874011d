"""Training objectives: functions of a model and a batch that return logits and a loss per row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from heads.registry import Registry
from research.data.batches.batch import Batch
from research.settings.config import Choice, RunConfig
from research.settings.options import complete_choice, create
from research.system.user_code import ErrorsAttributedTo, describe_location
from research.tasks.base import Task


@dataclass(frozen=True)
class ObjectiveOutput:
    """Output of an objective for a batch."""

    losses: Float[Tensor, batch]
    """One loss per row, in float32; the training loop weights and sums them."""
    logits: Float[Tensor, "batch labels"]
    """Unnormalised outputs of the model."""


class Objective:
    """Base class of all objectives; keyword-only parameters of `__init__` are an objective's options.

    Args:
        task: the task to train for.
    Raises:
        ValueError: if the objective does not fit the task.
    """

    tasks: ClassVar[tuple[str, ...]] = ("single_label",)
    """Names of the tasks that the objective fits. A task can name further objectives in its `more_objectives`."""

    favours_rare_labels: bool = False
    """Whether the loss gives rare labels more weight than their share of the training rows."""

    def __init__(self, task: Task) -> None:
        if not type(self).fits(task):
            fitting = [name for name in OBJECTIVES if OBJECTIVES[name].fits(task)]
            raise ValueError(
                f"{type(self).__name__} is for {' or '.join(self.tasks)} tasks; this task is "
                f"{task.name}. Objectives that fit: {', '.join(fitting)}."
            )
        self.task = task

    @classmethod
    def fits(cls, task: Task) -> bool:
        """Return whether the objective fits the task."""
        return task.name in cls.tasks or OBJECTIVES.name_of(cls) in task.more_objectives

    def __call__(self, model: nn.Module, batch: Batch) -> ObjectiveOutput:
        """Return the losses and logits of the batch's rows."""
        raise NotImplementedError

    def output_units(self) -> tuple[Tensor, Tensor]:
        """Return the shift and scale of the model's outputs, [num_labels] each: logits = head output * scale + shift.

        A new head outputs values around 0, so the shift is the initial prediction. If that were far from the average
        label, a short run would spend much of its time on learning the average.
        """
        return torch.zeros(self.task.num_labels), torch.ones(self.task.num_labels)


OBJECTIVES: Registry[type[Objective]] = Registry("objective", Objective)
register_objective = OBJECTIVES.register


def create_objective(choice: Choice, task: Task) -> Objective:
    """Return a new objective.

    Raises:
        ValueError: if an option is invalid, the objective does not fit the task, or its __init__ does not call super.
    """
    objective: Objective = create(OBJECTIVES, choice, task)
    if "task" not in vars(objective):
        location = describe_location(type(objective).__init__)
        raise ValueError(f"The objective '{choice.name}' must call super().__init__(task) in its __init__{location}.")
    return objective


def compute_losses(objective: Objective, model: nn.Module, batch: Batch) -> ObjectiveOutput:
    """Compute losses and logits, and check their shapes and dtypes: losses of a wrong shape would be broadcast.

    Raises:
        ValueError: if a shape or dtype is wrong; the message names the objective and what it returned.
    """
    name = describe_objective(objective)
    with ErrorsAttributedTo(name, type(objective).__call__):
        output = objective(model, batch)
    location = describe_location(type(objective).__call__)
    if not isinstance(output, ObjectiveOutput):
        raise ValueError(f"Expected an ObjectiveOutput from the {name}; got {type(output).__name__}{location}.")
    expected = {"losses": (len(batch),), "logits": (len(batch), objective.task.num_labels)}
    for part, shape in expected.items():
        value = getattr(output, part)
        is_float_tensor = isinstance(value, Tensor) and value.is_floating_point()
        if not is_float_tensor or value.shape != shape:
            got = f"{list(value.shape)} of {value.dtype}" if isinstance(value, Tensor) else type(value).__name__
            hint = " Losses must not be reduced: reduction='none'." if part == "losses" else ""
            raise ValueError(
                f"Expected {part} from the {name} to be a floating-point tensor of shape {list(shape)}; got "
                f"{got}{location}.{hint}"
            )
    return output


def describe_objective(objective: Objective) -> str:
    """Return the name of an objective for messages."""
    return f"objective '{OBJECTIVES.name_of(type(objective)) or type(objective).__name__}'"


@OBJECTIVES.register("cross_entropy")
class CrossEntropy(Objective):
    """Cross entropy of the softmax of the logits.

    Source: Szegedy et al. 2016, Rethinking the Inception Architecture (label smoothing).

    Args:
        label_smoothing: share of the target that is spread evenly over all labels, at least 0 and less than 1.
        class_weights: "balanced" weights labels by their inverse frequency in the training split; a list gives one
            weight per label, in the order of the label names. Weights are scaled to a mean of 1 over the split.
    """

    def __init__(
        self,
        task: Task,
        *,
        label_smoothing: float = 0.0,
        class_weights: Literal["balanced"] | list[float] | None = None,
    ) -> None:
        super().__init__(task)
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"Expected label_smoothing to be at least 0 and less than 1; got {label_smoothing}.")
        self.label_smoothing = label_smoothing
        self.weights = _class_weights(task, class_weights)
        self.favours_rare_labels = class_weights == "balanced"

    def __call__(self, model: nn.Module, batch: Batch) -> ObjectiveOutput:
        """See `Objective`."""
        logits = model(**batch.inputs).logits
        losses = F.cross_entropy(logits.float(), batch.labels, reduction="none", label_smoothing=self.label_smoothing)
        if self.weights is not None:
            losses = losses * self.weights.to(losses.device)[batch.labels]
        return ObjectiveOutput(losses, logits)


@OBJECTIVES.register("focal")
class Focal(Objective):
    """Focal loss: cross entropy with less weight on rows that are already classified well.

    Source: Lin et al. 2017, Focal Loss for Dense Object Detection, eq. 4.

    Args:
        gamma: strength of the weighting; 0 gives plain cross entropy.
    """

    def __init__(self, task: Task, *, gamma: float = 2.0) -> None:
        super().__init__(task)
        if gamma < 0:
            raise ValueError(f"Expected gamma to be 0 or more; got {gamma}.")
        self.gamma = gamma

    def __call__(self, model: nn.Module, batch: Batch) -> ObjectiveOutput:
        """See `Objective`."""
        logits = model(**batch.inputs).logits
        log_probability = F.log_softmax(logits.float(), dim=-1).gather(1, batch.labels.unsqueeze(1)).squeeze(1)
        # -expm1(log p) is 1 - p, and accurate near p = 1. It is kept above 0, where the power has an infinite gradient
        # if gamma < 1.
        one_minus_p = (-torch.expm1(log_probability)).clamp_min(torch.finfo(torch.float32).tiny)
        return ObjectiveOutput(-(one_minus_p**self.gamma) * log_probability, logits)


@OBJECTIVES.register("logit_adjusted")
class LogitAdjusted(Objective):
    """Cross entropy of logits that are shifted by the logarithms of the label frequencies, for rare labels.

    The shift is part of the loss only. The model, also when it is saved or exported, returns the logits without it,
    which favour rare labels: with `tau` 1, they estimate which label would be likeliest if all were equally frequent.

    Source: Menon et al. 2021, Long-tail learning via logit adjustment, eq. 10. Differs: a label without training rows
    counts as having one.

    Args:
        tau: strength of the shift; 0 gives plain cross entropy.
    """

    def __init__(self, task: Task, *, tau: float = 1.0) -> None:
        super().__init__(task)
        if tau < 0:
            raise ValueError(f"Expected tau to be 0 or more; got {tau}.")
        _require_counts(task, "logit_adjusted")
        counts = torch.tensor(task.label_counts, dtype=torch.float32).clamp_min(1)
        self.shift = tau * torch.log(counts / counts.sum())
        self.favours_rare_labels = tau > 0

    def __call__(self, model: nn.Module, batch: Batch) -> ObjectiveOutput:
        """See `Objective`."""
        logits = model(**batch.inputs).logits
        shifted = logits.float() + self.shift.to(logits.device)
        return ObjectiveOutput(F.cross_entropy(shifted, batch.labels, reduction="none"), logits)


@OBJECTIVES.register("bce")
class BinaryCrossEntropy(Objective):
    """Binary cross entropy of each label, averaged over labels.

    Source: the standard multi-label objective; torch's binary_cross_entropy_with_logits.

    Args:
        pos_weight: "balanced" weights the positive rows of each label by the ratio of negative to positive rows in the
            training split.
    """

    tasks: ClassVar[tuple[str, ...]] = ("multi_label",)

    def __init__(self, task: Task, *, pos_weight: Literal["balanced"] | None = None) -> None:
        super().__init__(task)
        self.pos_weight: Tensor | None = None
        if pos_weight == "balanced":
            _require_counts(task, "pos_weight")
            counts = torch.tensor(task.label_counts, dtype=torch.float32)
            self.pos_weight = (task.num_train - counts) / counts.clamp_min(1)

    def output_units(self) -> tuple[Tensor, Tensor]:
        """Shift by each label's log-odds in the training split.

        Half a row is added to both counts, so that the log-odds are finite. If `pos_weight` is "balanced", positive and
        negative rows have the same total weight, so the log-odds are 0.
        """
        shift, scale = super().output_units()
        if self.pos_weight is None:
            counts = torch.tensor(self.task.label_counts, dtype=torch.float32)
            shift = torch.log((counts + 0.5) / (self.task.num_train - counts + 0.5))
        return shift, scale

    def __call__(self, model: nn.Module, batch: Batch) -> ObjectiveOutput:
        """See `Objective`."""
        logits = model(**batch.inputs).logits
        weight = None if self.pos_weight is None else self.pos_weight.to(logits.device)
        losses = F.binary_cross_entropy_with_logits(logits.float(), batch.labels, reduction="none", pos_weight=weight)
        return ObjectiveOutput(losses.mean(dim=1), logits)


@OBJECTIVES.register("mse")
class MeanSquaredError(Objective):
    """Squared difference between the model's output and the score.

    Source: least squares; torch's mse_loss.
    """

    tasks: ClassVar[tuple[str, ...]] = ("regression",)

    def output_units(self) -> tuple[Tensor, Tensor]:
        """Let the head predict standardised scores: no single learning rate suits scores around 3 and around 300."""
        return torch.tensor([self.task.score_mean]), torch.tensor([self.task.score_std])

    def __call__(self, model: nn.Module, batch: Batch) -> ObjectiveOutput:
        """See `Objective`."""
        logits = model(**batch.inputs).logits
        return ObjectiveOutput((logits.float().squeeze(1) - batch.labels.float()).square(), logits)


@OBJECTIVES.register("r_drop")
class RDrop(Objective):
    """R-Drop: cross entropy of two passes with different dropout, plus the divergence between them.

    In evaluation mode, both passes would be equal. There is only one pass then, and the loss is cross entropy.

    Source: Wu, Li, Wang et al. 2021, R-Drop: Regularized Dropout for Neural Networks, eq. 4. Differs: the loss is
    half of the paper's, so that cross entropy has its usual scale and the learning rate need not change.

    Args:
        alpha: weight of the divergence.
    """

    def __init__(self, task: Task, *, alpha: float = 1.0) -> None:
        super().__init__(task)
        if alpha < 0:
            raise ValueError(f"Expected alpha to be 0 or more; got {alpha}.")
        self.alpha = alpha

    def __call__(self, model: nn.Module, batch: Batch) -> ObjectiveOutput:
        """See `Objective`."""
        logits = model(**batch.inputs).logits
        if not model.training:
            return ObjectiveOutput(F.cross_entropy(logits.float(), batch.labels, reduction="none"), logits)
        passes = (logits, model(**batch.inputs).logits)
        first, second = (F.log_softmax(each.float(), dim=-1) for each in passes)
        first_cross_entropy = F.nll_loss(first, batch.labels, reduction="none")
        second_cross_entropy = F.nll_loss(second, batch.labels, reduction="none")
        first_divergence = F.kl_div(first, second, reduction="none", log_target=True).sum(dim=-1)
        second_divergence = F.kl_div(second, first, reduction="none", log_target=True).sum(dim=-1)
        cross_entropy, divergence = first_cross_entropy + second_cross_entropy, first_divergence + second_divergence
        return ObjectiveOutput(cross_entropy / 2 + self.alpha * divergence / 4, logits)


def _class_weights(task: Task, class_weights: str | Sequence[float] | None) -> Tensor | None:
    """Return one weight per label, scaled to a mean of 1 over the training split."""
    if class_weights is None:
        return None
    _require_counts(task, "class_weights")
    counts = torch.tensor(task.label_counts, dtype=torch.float32)
    if isinstance(class_weights, str):
        weights = 1 / counts.clamp_min(1)
    else:
        weights = torch.tensor(class_weights, dtype=torch.float32)
        if len(weights) != task.num_labels or weights.min() < 0 or weights.max() == 0:
            raise ValueError(
                f"Expected class_weights to be {task.num_labels} numbers of at least 0, not all 0, for the labels "
                f"{', '.join(task.label_names)}; got {list(class_weights)}."
            )
    return weights * counts.sum() / (weights * counts).sum()


def _require_counts(task: Task, option: str) -> None:
    """Raise ValueError if the label counts of the training rows are not known."""
    if task.counted_split != "train":
        raise ValueError(
            f"{option} needs the number of training rows with each label, which --streaming does not count. Omit "
            f"{option}, or omit --streaming."
        )


def choose_objective(config: RunConfig, task: Task) -> Choice:
    """Return the chosen objective, or the task's default, with all of its options.

    Args:
        config: the final settings.
        task: the task, which has a default objective.
    """
    if config.objective is None:
        return complete_choice(OBJECTIVES, Choice(task.default_objective))
    return Choice.of(config.objective, "objective")
