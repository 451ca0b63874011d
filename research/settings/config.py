"""Every setting of a run: the same names in recipes, in Python and on the command line.

This module imports neither torch nor transformers, so that `--help` answers at once.
"""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass, field
from typing import Any, Literal

from research.settings import value_types
from research.settings.declarations import PERIOD, TIME, Effect, Stage, check_bounds, declarations, setting
from research.settings.forks import path_of_fork

LARGEST_SEED = 2**32 - 1
"""What numpy takes."""


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

    encoder: str = setting(
        "minilm",
        effect=Effect.MEANING,
        stage=Stage.TOKENS,
        fixed_in_forks="the checkpoint's weights belong to it",
        names_arm=True,
        read_path=str,
    )
    """Pretrained encoder: `minilm` (packaged, `demo` extra), a local directory, or a Hugging Face Hub id."""
    head: str | dict[str, Any] = setting(
        "linear", effect=Effect.MEANING, fixed_in_forks="the checkpoint's weights belong to it", names_arm=True
    )
    """Head on the encoder (see --list heads); its options follow as --head.<option>."""
    objective: str | dict[str, Any] | None = setting(None, effect=Effect.MEANING, names_arm=True)
    """Training objective (see --list objectives); by default the one that fits the task. --objective.<option> too."""
    hook: list[str | dict[str, Any]] = setting([], effect=Effect.MEANING)
    """Hook that takes part in the run (see --list hooks); may be repeated, runs in this order. --hook.<name>.<option>
    too."""
    freeze: list[str] = setting(
        [],
        effect=Effect.MEANING,
        stage=Stage.HIDDEN_STATES,
        fixed_in_forks="the checkpoint's optimizer state covers the parts that trained",
    )
    """Parts that do not train until the timeline unfreezes them (encoder, encoder.layer[:4], ...); may be repeated."""
    peft: str | dict[str, Any] | None = setting(
        None, effect=Effect.MEANING, fixed_in_forks="the checkpoint's weights belong to it"
    )
    """Adapters to begin with, beside a frozen encoder: `lora`; its options follow as --peft.<option>."""
    plugin: list[str] = setting(
        [], effect=Effect.NONE, fixed_in_studies="plugins register names for all trials", read_path=str
    )
    """Your own code, imported first: a .py file or a module name; may be repeated."""
    allow_padding_sensitive: bool = setting(False, effect=Effect.NONE)
    """Train a head whose logits depend on padding or on the other rows of a batch, or are not finite for a row without
    tokens; refused by default."""
    dropout: float | None = setting(None, effect=Effect.MEANING, at_least=0, below=1, unit="probability")
    """Dropout probability inside the encoder, attention excepted (a head's own is --head.dropout); null leaves what
    the encoder's config says."""
    attention_dropout: float | None = setting(0.0, effect=Effect.MEANING, at_least=0, below=1, unit="probability")
    """Dropout probability of attention weights; null leaves what the encoder's config says. On a CPU anything above 0
    costs more than half the speed."""


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Data"""

    data: str = setting("imdb", effect=Effect.ROWS, stage=Stage.ROW_NUMBERS, names_arm=True, read_path=str)
    """What to train on: `imdb` or `rotten_tomatoes` (packaged), an aclImdb folder or .tar.gz, a csv, tsv, jsonl,
    ndjson, json, parquet, xlsx (`excel` extra) or fastText file (text files also compressed: reviews.csv.gz), a folder
    with train/validation/test files or folders, a cloned data repository, a folder that save_to_disk wrote, or
    `hub:<dataset>[:config]`."""
    task: str | None = setting(None, effect=Effect.ROWS, stage=Stage.ROW_NUMBERS)
    """Kind of labels: single_label, multi_label, regression, or a plugin's own; guessed by default, and reported."""
    text_column: str | None = setting(None, effect=Effect.ROWS, stage=Stage.ROW_NUMBERS)
    """Column with the text; by default guessed when unambiguous, and said."""
    text_pair_column: str | None = setting(None, effect=Effect.ROWS, stage=Stage.ROW_NUMBERS)
    """Column with the second text of a pair; by default guessed when unambiguous, and said."""
    label_column: str | None = setting(None, effect=Effect.ROWS, stage=Stage.ROW_NUMBERS)
    """Column with the label, the list of labels or the score; by default guessed if unambiguous, and reported.
    Several columns, separated by commas, hold a 0 or 1 for each label."""
    label_separator: str | None = setting(None, effect=Effect.ROWS, stage=Stage.ROW_NUMBERS)
    """Separates the names of several labels in one string, as the comma in `joy,anger`; by default a string is one
    label."""
    allow_unknown_tokens: bool = setting(False, effect=Effect.ROWS, stage=Stage.TOKENS)
    """Train although the tokenizer knows no token of more than a third of the rows in a split."""
    encoding: str | None = setting(None, effect=Effect.ROWS, stage=Stage.ROWS)
    """Encoding of text files; by default UTF-8, or UTF-16 with a byte order mark."""
    quoting: Literal["auto", "csv", "none"] = setting("auto", effect=Effect.ROWS, stage=Stage.ROW_NUMBERS)
    """Quotes in csv and tsv files enclose fields (csv), or are ordinary characters (none); auto reads csv files as
    csv, and decides by the whole file for tsv files."""
    columns: list[str] = setting([], effect=Effect.ROWS, stage=Stage.ROW_NUMBERS)
    """Names of the columns of csv and tsv files without a header, separated by commas."""
    cleaning: list[str] = setting([], effect=Effect.ROWS, stage=Stage.ROWS, flags_replace=True)
    """Cleaning steps, applied in this order (see --list cleaning)."""
    max_length: int = setting(512, effect=Effect.MEANING, stage=Stage.INPUTS, above=0, unit="tokens")
    """Longest input, in tokens, special tokens included."""
    truncation: Literal["head", "tail", "head_tail"] = setting("head_tail", effect=Effect.MEANING, stage=Stage.INPUTS)
    """What is kept of a text that is too long: its beginning, its end, or both halves."""
    bad_rows: Literal["error", "skip"] = setting("error", effect=Effect.ROWS, stage=Stage.ROWS)
    """Rows without text or label, or with invalid UTF-8: refuse them all with one error, or leave them out."""
    unseen_labels: Literal["error", "skip", "count_as_wrong"] | None = setting(
        None, effect=Effect.ROWS, stage=Stage.ROWS
    )
    """Validation and test rows with labels that no training row has: refuse them with one error, leave them out, or
    count them as wrong predictions; by default as --bad_rows."""
    limit_train: int | None = setting(None, effect=Effect.ROWS, stage=Stage.ROWS, above=0, unit="rows")
    """Train on this many rows, a stratified sample."""
    limit_validation: int | None = setting(None, effect=Effect.ROWS, stage=Stage.ROWS, above=0, unit="rows")
    """Validate on this many rows, a stratified sample."""
    limit_test: int | None = setting(None, effect=Effect.ROWS, stage=Stage.ROWS, above=0, unit="rows")
    """Test on this many rows, a stratified sample."""
    validation_share: float = setting(
        0.05, effect=Effect.ROWS, stage=Stage.ROWS, at_least=0, below=1, unit="share of the rows"
    )
    """Share of the training rows that becomes the validation split where there is none."""
    test_share: float = setting(
        0.2, effect=Effect.ROWS, stage=Stage.ROWS, at_least=0, below=1, unit="share of the rows"
    )
    """Share of the training rows that becomes the test split where there is none."""
    split_seed: int = setting(0, effect=Effect.ROWS, stage=Stage.ROWS, at_least=0, at_most=LARGEST_SEED, unit="seed")
    """Seed of carving and sampling splits; independent of --seed, so that all seeds see the same rows."""


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Training"""

    epochs: float = setting(1.0, effect=Effect.MEANING, above=0, unit="passes")
    """Passes over the training split; fractions are allowed."""
    max_steps: int | None = setting(None, effect=Effect.MEANING, above=0, unit="steps")
    """Optimizer steps, instead of --epochs."""
    batch_size: int = setting(
        32,
        effect=Effect.MEANING,
        above=0,
        unit="examples",
        fixed_in_forks="the checkpoint's place in the data is counted in such batches",
    )
    """Examples per optimizer step, over all processes."""
    micro_batch_size: int = setting(32, effect=Effect.ROUNDING, above=0, unit="examples")
    """Examples that one process runs forward and backward at once, at most."""
    optimizer: Literal["adamw", "sgd"] = setting(
        "adamw", effect=Effect.MEANING, fixed_in_forks="the checkpoint's optimizer state belongs to it"
    )
    """Optimizer, from torch."""
    lr: float = setting(1e-4, effect=Effect.MEANING, above=0, unit="per step")
    """Peak learning rate of the encoder's last layer, per step."""
    head_lr: float | None = setting(1e-3, effect=Effect.MEANING, at_least=0, unit="per step")
    """Peak learning rate of the head, which starts from nothing; null takes --lr."""
    layer_decay: float = setting(0.9, effect=Effect.MEANING, above=0, unit="factor per layer")
    """Factor on the peak learning rate for every layer further from the head; 1 turns it off."""
    weight_decay: float = setting(0.01, effect=Effect.MEANING, at_least=0, unit="per step, times the learning rate")
    """Decoupled weight decay (for sgd: L2); norms and biases are spared."""
    schedule: str | dict[str, Any] = setting("one_cycle", effect=Effect.MEANING, names_arm=True)
    """Learning-rate schedule (see --list schedules); its options follow as --schedule.<option>."""
    schedule_interval: Literal["step", "epoch"] = setting("step", effect=Effect.MEANING)
    """How often the learning rate moves: after every optimizer step, or after every epoch. A skipped step counts as a
    step of the run, but does not move the learning rate."""
    warmup: str = setting("10%", effect=Effect.MEANING, unit=TIME)
    """How long the learning rate rises, as a time: 120st (steps), 0.25ep (epochs), 10% (of the run), 20000ex
    (examples)."""
    max_grad_norm: float = setting(1.0, effect=Effect.MEANING, at_least=0, unit="norm")
    """Gradients are scaled down to this norm where they exceed it; 0 turns clipping off."""
    mixed_precision: Literal["auto", "no", "bf16", "fp16"] = setting(
        "auto", effect=Effect.MEANING, stage=Stage.HIDDEN_STATES
    )
    """Floating-point precision of the forward pass; auto takes the launcher's, or bf16 where the hardware computes in
    it. A `no` counts as the launcher's if it is a flag of accelerate launch; in its config file it means auto."""
    compile: bool = setting(False, effect=Effect.ROUNDING)
    """Compile the model with torch.compile; edits compile it again. On a CPU it needs a C++ compiler."""
    compile_backend: Literal["inductor", "aot_eager", "eager"] = setting("inductor", effect=Effect.ROUNDING)
    """What --compile compiles with; the eager ones only trace, to find errors."""
    cache_features: bool | None = setting(None, effect=Effect.ROUNDING, affects_feature_cache=True)
    """Compute the hidden states of a frozen encoder once, store them (in MIDWAY_CACHE) and train the head on them: true
    wherever the encoder stays frozen to the end, null if the run has more than one epoch as well, false never."""
    cache_dtype: Literal["float32", "bf16"] = setting(
        "float32", effect=Effect.ROUNDING, stage=Stage.HIDDEN_STATES, affects_feature_cache=True
    )
    """Numbers of stored hidden states: those that the encoder gives, or half the bytes of float32, rounded."""
    on_nonfinite: Literal["error", "skip"] = setting("error", effect=Effect.NONE)
    """What a loss, gradient or logit that is not finite does: stop the run, or skip the step and count it. A skipped
    evaluation has no metrics."""


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """Timeline and evaluation"""

    timeline: list[dict[str, Any]] = setting([], effect=Effect.MEANING)
    """Edits in mid-run (see --list edits), each with its time: {at: 10%, unfreeze: "encoder.layer[-2:]"}; `every:` for
    repeated ones, `when: plateau(validation/loss, 3)` for conditional ones; may be repeated."""

    evaluate_every: str | None = setting("50%", effect=Effect.MEANING, unit=PERIOD)
    """Time between evaluations on the validation split, as in --warmup; null evaluates at the end only."""
    best_metric: str | None = setting(None, effect=Effect.MEANING)
    """Validation metric that picks the model kept in best/ (accuracy, f1_macro, ...); it is tested instead of the
    last."""
    patience: int | None = setting(None, effect=Effect.MEANING, above=0, unit="evaluations")
    """Stop after this many evaluations without a better --best_metric (by default: lower loss)."""
    evaluation_batch_size: int = setting(64, effect=Effect.ROUNDING, above=0, unit="examples")
    """Examples that one process evaluates at once."""


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Run"""

    name: str | None = setting(None, effect=Effect.INVOCATION, fixed_in_studies="each trial has its own")
    """Name of the run; its directory is runs/<name>. By default made of encoder, head, data and time."""
    output_dir: str | None = setting(None, effect=Effect.INVOCATION, fixed_in_studies="each trial has its own")
    """The run directory itself, instead of runs/<name>."""
    overwrite: bool = setting(
        False,
        effect=Effect.INVOCATION,
        fixed_in_studies="no trial replaces another run",
        study_alternative="delete its directory, or choose another --name",
    )
    """Replace an existing run directory."""
    resume: str | None = setting(
        None,
        effect=Effect.INVOCATION,
        fixed_in_studies="each trial continues from its own checkpoint",
        study_alternative="the same command goes on with a study",
    )
    """`auto` continues from the newest checkpoint of the run directory; a path names a checkpoint."""
    init_from: str | None = setting(
        None,
        effect=Effect.MEANING,
        stage=Stage.HIDDEN_STATES,
        fixed_in_forks="a fork starts from the checkpoint's weights",
        read_path=str,
    )
    """Run directory (or saved model) whose weights a new run starts from."""
    fork: str | None = setting(
        None, effect=Effect.MEANING, fixed_in_studies="all trials fork the same run", read_path=path_of_fork
    )
    """Continue another run from one of its checkpoints (runs/a@step-400; runs/a is its newest) as a run of its own:
    with that run's settings, but for those that are given."""
    save_every: str | None = setting(None, effect=Effect.NONE, unit=PERIOD)
    """Time between checkpoints, as in --warmup, with one after the last step; by default only a signal saves one."""
    keep: int = setting(2, effect=Effect.NONE, above=0, unit="checkpoints")
    """Checkpoints kept, the newest ones."""
    on_save_error: Literal["stop", "continue"] = setting("stop", effect=Effect.NONE)
    """What a checkpoint that cannot be written (a full disk) does; earlier ones stay as they are."""
    seed: int = setting(
        0,
        effect=Effect.MEANING,
        at_least=0,
        at_most=LARGEST_SEED,
        unit="seed",
        fixed_in_forks="the checkpoint's random states and order of examples follow from it",
    )
    """Seed of initialisation, dropout and the order of examples."""
    num_threads: int | None = setting(
        None, effect=Effect.ROUNDING, above=0, unit="threads", null_keeps_checkpoint_value=True
    )
    """CPU threads of each process; by default the machine's cores are shared out."""
    deterministic: bool = setting(False, effect=Effect.ROUNDING)
    """Only deterministic algorithms, also on a GPU; slower."""
    log_with: list[str] = setting(["tensorboard"], effect=Effect.NONE, flags_replace=True)
    """Trackers that accelerate knows (tensorboard, wandb, mlflow, comet_ml, ...); metrics.jsonl is always written."""
    log_every: int = setting(10, effect=Effect.NONE, above=0, unit="steps")
    """Steps between logged lines."""
    report: bool = setting(True, effect=Effect.NONE)
    """Draw report.html, and pictures for TensorBoard, when training ends; they take about a second."""
    smoke: bool = setting(
        False,
        effect=Effect.MEANING,
        stage=Stage.TOKENS,
        fixed_in_forks="it changes the rows and the number of steps",
        fixed_in_studies="a smoke test covers all trials or none",
    )
    """Three batches of everything, in under half a minute, to see that all of it works."""
    profile: bool = setting(False, effect=Effect.NONE)
    """Write a torch profiler trace of a few steps to profile/, for TensorBoard or Perfetto."""


@dataclass(frozen=True, kw_only=True)
class RunConfig(RunSettings, EvaluationSettings, TrainingSettings, DataSettings, ModelSettings):
    """Every setting of a run."""

    def __post_init__(self) -> None:
        for name, kind in typing.get_type_hints(RunConfig).items():
            _check_type(name, getattr(self, name), kind)
        for name, declared in declarations(RunConfig).items():
            check_bounds(name, getattr(self, name), declared)

        if self.name is not None and (not self.name or self.name[0] in "/~" or ".." in self.name.split("/")):
            raise ValueError(f"Expected a name for a folder in runs/, got '{self.name}'; --output_dir takes any path.")

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values, in the order of the groups."""
        return {item.name: getattr(self, item.name) for group in SETTING_GROUPS for item in dataclasses.fields(group)}

    def read_paths(self) -> list[tuple[str, str]]:
        """Return each setting that names a path which the run reads, with the path; of a list, one by one.

        Nothing may be there: `imdb` is a path too.

        Raises:
            ValueError: if a value is not of the form in which a path is named.
        """
        found = []
        for name, declared in declarations(RunConfig).items():
            value = getattr(self, name)
            if declared.read_path is not None and value is not None:
                found += [(name, declared.read_path(each)) for each in (value if isinstance(value, list) else [value])]
        return found

    def to_recipe(self) -> dict[str, Any]:
        """Return the settings of a recipe that repeats the run: all but those that belong to one call."""
        declared = declarations(RunConfig)
        return {name: value for name, value in self.to_dict().items() if declared[name].effect is not Effect.INVOCATION}


def _check_type(name: str, value: Any, kind: Any) -> None:
    """Refuse a value of another type; the command line's parser does so before, Python's callers have nobody else.

    Raises:
        ValueError: naming the setting, what is expected and what came.
    """
    if not value_types.accepts(kind, value):
        raise ValueError(f"Expected {name} to be {value_types.describe_type(kind)}; got {value!r}.")


SETTING_GROUPS = (ModelSettings, DataSettings, TrainingSettings, EvaluationSettings, RunSettings)
"""The groups of settings, in the order in which `--help` shows them."""
