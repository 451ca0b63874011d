"""Every setting of a run: the same names in recipes, in Python and on the command line.

This module imports neither torch nor transformers, so that `--help` answers at once.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from dataclasses import dataclass, field
from typing import Any, Literal

from research.settings import value_types

NOT_REPEATED = ("name", "output_dir", "overwrite", "resume")
"""Settings that say where one run lies; a repetition gets its own."""


@dataclass(frozen=True)
class Choice:
    """A registered name with its options; in YAML either `lstm` or `{name: lstm, lstm_size: 128}`."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, value: str | dict[str, Any], kind: str) -> Choice:
        """Read a choice from its YAML form.

        Raises:
            ValueError: if it is neither, or a mapping has no `name`.
        """
        if isinstance(value, str) and value:
            return cls(value)
        if not isinstance(value, dict):
            raise ValueError(
                f"Expected the {kind} as a name, or as a mapping with a 'name' and options; got {value!r}."
            )
        options = dict(value)
        name = options.pop("name", None)
        if not isinstance(name, str):
            raise ValueError(f"A {kind} given as a mapping needs a 'name'; got {value}.")
        return cls(name, options)

    def to_yaml(self) -> str | dict[str, Any]:
        """Return the shortest YAML form: the bare name when there are no options."""
        return {"name": self.name, **self.options} if self.options else self.name


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """What is trained"""

    encoder: str = "minilm"
    """Pretrained encoder: `minilm` (packaged, `demo` extra), a local directory, or a Hugging Face Hub id."""
    head: str | dict[str, Any] = "linear"
    """Head on the encoder (see --list heads); its options follow as --head.<option>."""
    objective: str | dict[str, Any] | None = None
    """Training objective (see --list objectives); by default the one that fits the task. --objective.<option> too."""
    hook: list[str | dict[str, Any]] = field(default_factory=list)
    """Hook that takes part in the run (see --list hooks); may be repeated, runs in this order. --hook.<name>.<option>
    too."""
    freeze: list[str] = field(default_factory=list)
    """Parts that do not train until the timeline unfreezes them (encoder, encoder.layer[:4], ...); may be repeated."""
    peft: str | dict[str, Any] | None = None
    """Adapters to begin with, beside a frozen encoder: `lora`; its options follow as --peft.<option>."""
    plugin: list[str] = field(default_factory=list)
    """Your own code, imported first: a .py file or a module name; may be repeated."""
    allow_padding_sensitive: bool = False
    """Train a head whose logits depend on padding or on the other rows of a batch, or are not finite for a row without
    tokens; refused by default."""
    dropout: float | None = None
    """Dropout probability inside the encoder, attention excepted (a head's own is --head.dropout); null leaves what
    the encoder's config says."""
    attention_dropout: float | None = 0.0
    """Dropout probability of attention weights; null leaves what the encoder's config says. On a CPU anything above 0
    costs more than half the speed."""


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Data"""

    data: str = "imdb"
    """What to train on: `imdb` or `rotten_tomatoes` (packaged), an aclImdb folder or .tar.gz, a csv, tsv, jsonl,
    ndjson, json or parquet file (text files also compressed: reviews.csv.gz), a folder with train/validation/test
    files or folders, a cloned data repository, a folder that save_to_disk wrote, or `hub:<dataset>[:config]`."""
    task: str | None = None
    """Kind of labels: single_label, multi_label, regression, or a plugin's own; guessed by default, and reported."""
    text_column: str | None = None
    """Column with the text; by default guessed when unambiguous, and said."""
    text_pair_column: str | None = None
    """Column with the second text of a pair; by default guessed when unambiguous, and said."""
    label_column: str | None = None
    """Column with the label, the list of labels or the score; by default guessed if unambiguous, and reported.
    Several columns, separated by commas, hold a 0 or 1 for each label."""
    label_separator: str | None = None
    """Separates the names of several labels in one string, as the comma in `joy,anger`; by default a string is one
    label."""
    allow_unknown_tokens: bool = False
    """Train although the tokenizer knows no token of more than a third of the rows in a split."""
    encoding: str | None = None
    """Encoding of text files; by default UTF-8, or UTF-16 with a byte order mark."""
    quoting: Literal["auto", "csv", "none"] = "auto"
    """Quotes in csv and tsv files enclose fields (csv), or are ordinary characters (none); auto reads csv files as
    csv, and decides by the whole file for tsv files."""
    columns: list[str] = field(default_factory=list)
    """Names of the columns of csv and tsv files without a header, separated by commas."""
    cleaning: list[str] = field(default_factory=list)
    """Cleaning steps, applied in this order (see --list cleaning)."""
    max_length: int = 512
    """Longest input, in tokens, special tokens included."""
    truncation: Literal["head", "tail", "head_tail"] = "head_tail"
    """What is kept of a text that is too long: its beginning, its end, or both halves."""
    bad_rows: Literal["error", "skip"] = "error"
    """Rows without text or label, or with invalid UTF-8: refuse them all with one error, or leave them out."""
    unseen_labels: Literal["error", "skip", "count_as_wrong"] | None = None
    """Validation and test rows with labels that no training row has: refuse them with one error, leave them out, or
    count them as wrong predictions; by default as --bad_rows."""
    limit_train: int | None = None
    """Train on this many rows, a stratified sample."""
    limit_validation: int | None = None
    """Validate on this many rows, a stratified sample."""
    limit_test: int | None = None
    """Test on this many rows, a stratified sample."""
    validation_share: float = 0.05
    """Share of the training rows that becomes the validation split where there is none."""
    test_share: float = 0.2
    """Share of the training rows that becomes the test split where there is none."""
    split_seed: int = 0
    """Seed of carving and sampling splits; independent of --seed, so that all seeds see the same rows."""


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Training"""

    epochs: float = 1.0
    """Passes over the training split; fractions are allowed."""
    max_steps: int | None = None
    """Optimizer steps, instead of --epochs."""
    batch_size: int = 32
    """Examples per optimizer step, over all processes."""
    micro_batch_size: int = 32
    """Examples that one process runs forward and backward at once, at most."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    """Optimizer, from torch."""
    lr: float = 1e-4
    """Peak learning rate of the encoder's last layer, per step."""
    head_lr: float | None = 1e-3
    """Peak learning rate of the head, which starts from nothing; null takes --lr."""
    layer_decay: float = 0.9
    """Factor on the peak learning rate for every layer further from the head; 1 turns it off."""
    weight_decay: float = 0.01
    """Decoupled weight decay (for sgd: L2); norms and biases are spared."""
    schedule: str | dict[str, Any] = "one_cycle"
    """Learning-rate schedule (see --list schedules); its options follow as --schedule.<option>."""
    schedule_interval: Literal["step", "epoch"] = "step"
    """How often the learning rate moves: after every optimizer step, or after every epoch. A skipped step counts as a
    step of the run, but does not move the learning rate."""
    warmup: str = "10%"
    """How long the learning rate rises, as a time: 120st (steps), 0.25ep (epochs), 10% (of the run), 20000ex
    (examples)."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this norm where they exceed it; 0 turns clipping off."""
    mixed_precision: Literal["auto", "no", "bf16", "fp16"] = "auto"
    """Floating-point precision of the forward pass; auto takes the launcher's, or bf16 where the hardware computes in
    it. A `no` counts as the launcher's if it is a flag of accelerate launch; in its config file it means auto."""
    compile: bool = False
    """Compile the model with torch.compile; edits compile it again. On a CPU it needs a C++ compiler."""
    compile_backend: Literal["inductor", "aot_eager", "eager"] = "inductor"
    """What --compile compiles with; the eager ones only trace, to find errors."""
    cache_features: bool | None = None
    """Compute the hidden states of a frozen encoder once, store them (in MIDWAY_CACHE) and train the head on them: true
    wherever the encoder stays frozen to the end, null if the run has more than one epoch as well, false never."""
    cache_dtype: Literal["float32", "bf16"] = "float32"
    """Numbers of stored hidden states: those that the encoder gives, or half the bytes of float32, rounded."""
    on_nonfinite: Literal["error", "skip"] = "error"
    """What a loss, gradient or logit that is not finite does: stop the run, or skip the step and count it. A skipped
    evaluation has no metrics."""


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """Timeline and evaluation"""

    timeline: list[dict[str, Any]] = field(default_factory=list)
    """Edits in mid-run (see --list edits), each with its time: {at: 10%, unfreeze: "encoder.layer[-2:]"}; `every:` for
    repeated ones, `when: plateau(validation/loss, 3)` for conditional ones; may be repeated."""

    evaluate_every: str | None = "50%"
    """Time between evaluations on the validation split, as in --warmup; null evaluates at the end only."""
    best_metric: str | None = None
    """Validation metric that picks the model kept in best/ (accuracy, f1_macro, ...); it is tested instead of the
    last."""
    patience: int | None = None
    """Stop after this many evaluations without a better --best_metric (by default: lower loss)."""
    evaluation_batch_size: int = 64
    """Examples that one process evaluates at once."""


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Run"""

    name: str | None = None
    """Name of the run; its directory is runs/<name>. By default made of encoder, head, data and time."""
    output_dir: str | None = None
    """The run directory itself, instead of runs/<name>."""
    overwrite: bool = False
    """Replace an existing run directory."""
    resume: str | None = None
    """`auto` continues from the newest checkpoint of the run directory; a path names a checkpoint."""
    init_from: str | None = None
    """Run directory (or saved model) whose weights a new run starts from."""
    fork: str | None = None
    """Continue another run from one of its checkpoints (runs/a@step-400; runs/a is its newest) as a run of its own:
    with that run's settings, but for those that are given."""
    save_every: str | None = None
    """Time between checkpoints, as in --warmup, with one after the last step; by default only a signal saves one."""
    keep: int = 2
    """Checkpoints kept, the newest ones."""
    on_save_error: Literal["stop", "continue"] = "stop"
    """What a checkpoint that cannot be written (a full disk) does; earlier ones stay as they are."""
    seed: int = 0
    """Seed of initialisation, dropout and the order of examples."""
    num_threads: int | None = None
    """CPU threads of each process; by default the machine's cores are shared out."""
    deterministic: bool = False
    """Only deterministic algorithms, also on a GPU; slower."""
    log_with: list[str] = field(default_factory=lambda: ["tensorboard"])
    """Trackers that accelerate knows (tensorboard, wandb, mlflow, comet_ml, ...); metrics.jsonl is always written."""
    log_every: int = 10
    """Steps between logged lines."""
    smoke: bool = False
    """Three batches of everything, in under half a minute, to see that all of it works."""
    profile: bool = False
    """Write a torch profiler trace of a few steps to profile/, for TensorBoard or Perfetto."""


@dataclass(frozen=True, kw_only=True)
class RunConfig(RunSettings, EvaluationSettings, TrainingSettings, DataSettings, ModelSettings):
    """Every setting of a run."""

    def __post_init__(self) -> None:
        for name, kind in typing.get_type_hints(RunConfig).items():
            _check_type(name, getattr(self, name), kind)
        for name in (
            "max_length",
            "batch_size",
            "micro_batch_size",
            "evaluation_batch_size",
            "epochs",
            "max_steps",
            "lr",
            "layer_decay",
            "keep",
            "log_every",
            "limit_train",
            "limit_validation",
            "limit_test",
            "patience",
            "num_threads",
        ):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"Expected {name} above 0, got {value}.")
        for name in ("weight_decay", "max_grad_norm", "head_lr"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise ValueError(f"Expected {name} of 0 or more, got {value}.")
        for name in ("seed", "split_seed"):
            value = getattr(self, name)
            if not 0 <= value < 2**32:  # what numpy takes
                raise ValueError(f"Expected {name} from 0 to {2**32 - 1}, got {value}.")
        for name in ("dropout", "attention_dropout", "validation_share", "test_share"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise ValueError(f"Expected {name} from 0 to below 1, got {value}.")

        if self.name is not None and (not self.name or self.name[0] in "/~" or ".." in self.name.split("/")):
            raise ValueError(f"Expected a name for a folder in runs/, got '{self.name}'; --output_dir takes any path.")

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values, in the order of the groups."""
        return {item.name: getattr(self, item.name) for group in SETTING_GROUPS for item in dataclasses.fields(group)}


def _check_type(name: str, value: Any, kind: Any) -> None:
    """Refuse a value of another type; the command line's parser does so before, Python's callers have nobody else.

    Raises:
        ValueError: naming the setting, what is expected and what came.
    """
    if not value_types.accepts(kind, value):
        raise ValueError(f"Expected {name} to be {value_types.in_words(kind)}; got {value!r}.")


SETTING_GROUPS = (ModelSettings, DataSettings, TrainingSettings, EvaluationSettings, RunSettings)
"""The groups of settings, in the order in which `--help` shows them."""
