"""All settings of a run. Recipes, Python code and the command line use the same names.

The parameters of `setting` are explained in `Declaration`. This module imports neither torch nor transformers, which
keeps `--help` fast.
"""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from heads.registry import UnknownNameError, describe_unknown
from research.settings import value_types
from research.settings.declarations import PERIOD, TIME, Effect, Stage, check_bounds, declarations, setting
from research.settings.forks import find_parent_directory
from research.settings.template import parse_template
from research.system.short_tracebacks import without_traceback

LARGEST_SEED = 2**32 - 1
"""The largest seed that numpy accepts."""


BaseDtype = Literal["float32", "bf16", "int8", "int4"]
"""How the encoder's own weights are stored while they are frozen."""
Sampling = Literal["natural", "balanced", "square_root"]
"""How the shares of the labels in an epoch are determined."""


@dataclass(frozen=True)
class Choice:
    """A registered name with its options; in YAML either `lstm` or `{name: lstm, lstm_size: 128}`."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, value: str | dict[str, Any], kind: str) -> Choice:
        """Parse the YAML form of a choice.

        Args:
            value: a name, or a dict with a `name` and options.
            kind: the kind of choice (head, objective, ...), for error messages.
        Raises:
            ValueError: if the value is neither a name nor a dict, or if the dict has no `name`.
        """
        if isinstance(value, str) and value:
            return cls(value)
        if not isinstance(value, dict):
            raise ValueError(f"Expected {kind} to be a name, or a mapping with a 'name' and options; got {value!r}.")
        options = dict(value)
        name = options.pop("name", None)
        if not isinstance(name, str):
            raise ValueError(f"A {kind} given as a mapping needs a 'name'; got {value}.")
        return cls(name, options)

    def to_yaml(self) -> str | dict[str, Any]:
        """Return the shortest YAML form: the bare name if there are no options."""
        return {"name": self.name, **self.options} if self.options else self.name


def name_of_head(head: str | dict[str, Any] | None) -> str:
    """Return the name in the setting `head`; `default` if the encoder will determine the head."""
    return "default" if head is None else Choice.of(head, "head").name


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """Model"""

    encoder: str = setting(
        "minilm",
        effect=Effect.TRAINING,
        stage=Stage.TOKENS,
        why_fixed_in_forks="the checkpoint's weights depend on it",
        value_names_arm=True,
        input_path=str,
    )
    """Pretrained encoder: `minilm` (packaged, `demo` extra), a local directory, or a Hugging Face Hub id."""
    head: str | dict[str, Any] | None = setting(
        None,
        effect=Effect.TRAINING,
        why_fixed_in_forks="the checkpoint's weights depend on it",
        value_names_arm=True,
    )
    """Head on top of the encoder (see --list heads). By default, `last` on causal encoders (decoder language models)
    and `linear` on all others. Set its options with --head.<option>."""
    objective: str | dict[str, Any] | None = setting(None, effect=Effect.TRAINING, value_names_arm=True)
    """Training objective (see --list objectives). By default, the one that fits the task. Set its options with
    --objective.<option>."""
    hook: list[str | dict[str, Any]] = setting([], effect=Effect.TRAINING)
    """Hook to add to the run (see --list hooks). May be repeated; hooks are called in the given order. Set a hook's
    options with --hook.<name>.<option>."""
    freeze: list[str] = setting(
        [],
        effect=Effect.TRAINING,
        stage=Stage.HIDDEN_STATES,
        why_fixed_in_forks="the checkpoint's optimizer state covers only the parts that were trained",
    )
    """Parts of the model that are frozen until the timeline unfreezes them (encoder, encoder.layer[:4], ...). May be
    repeated."""
    peft: str | dict[str, Any] | None = setting(
        None, effect=Effect.TRAINING, why_fixed_in_forks="the checkpoint's weights depend on it"
    )
    """Adapters to add to the encoder at the start: `lora`, `dora`, `rslora`, `ia3`, `oft`, `vera` or `prompt_tuning`.
    The encoder's own weights stay frozen. Set the options with --peft.<option>."""
    base_dtype: BaseDtype = setting(
        "float32",
        effect=Effect.TRAINING,
        stage=Stage.HIDDEN_STATES,
        why_fixed_in_forks="the checkpoint's weights are stored in it",
    )
    """Data type in which the encoder's own large weights are stored, to save memory while they are frozen: bf16 rounds
    them to half the size, int8 to a quarter, int4 to an eighth (`bitsandbytes` extra). Layers compute in the precision
    of --mixed_precision. Needs --peft or --freeze encoder."""
    bidirectional: bool = setting(
        False,
        effect=Effect.TRAINING,
        stage=Stage.HIDDEN_STATES,
        why_fixed_in_forks="the checkpoint's encoder depends on it; a timeline may change it with set_bidirectional",
    )
    """Let every token of a causal encoder attend to all tokens (BehnamGhader et al. 2024, LLM2Vec)."""
    pad_token: str | None = setting(
        None,
        effect=Effect.TRAINING,
        stage=Stage.TOKENS,
        why_fixed_in_forks="the checkpoint's embeddings depend on it",
    )
    """Token for padding. A token that the tokenizer does not know is added to it and to the embeddings. By default, the
    tokenizer's padding token or, if it has none, its end-of-sequence token."""
    attn_implementation: Literal["eager", "sdpa", "flash_attention_2", "flex_attention"] | None = setting(
        None, effect=Effect.ROUNDING, stage=Stage.HIDDEN_STATES
    )
    """Implementation of attention. By default, the fastest that the encoder supports without further packages."""
    plugin: list[str] = setting(
        [], effect=Effect.NONE, why_fixed_in_studies="plugins register names for all trials", input_path=str
    )
    """Your own code, imported first: a .py file or a module name. May be repeated."""
    allow_padding_sensitive: bool = setting(False, effect=Effect.NONE)
    """Accept an encoder or a head that depends on padding or on the other rows of a batch, or a head whose logits are
    not finite for a row without tokens. By default, they are rejected."""
    dropout: float | None = setting(None, effect=Effect.TRAINING, at_least=0, below=1, unit="probability")
    """Dropout probability inside the encoder, except for attention weights (--attention_dropout) and the head
    (--head.dropout). null keeps the value of the encoder's config."""
    attention_dropout: float | None = setting(0.0, effect=Effect.TRAINING, at_least=0, below=1, unit="probability")
    """Dropout probability of attention weights. null keeps the value of the encoder's config. On a CPU, any value
    above 0 more than halves the speed of training."""


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Data"""

    data: str = setting("imdb", effect=Effect.ROWS, stage=Stage.ROW_NUMBERS, value_names_arm=True, input_path=str)
    """Data to train on: `imdb` or `rotten_tomatoes` (packaged), an aclImdb folder or .tar.gz, a csv, tsv, jsonl,
    ndjson, json, parquet, xlsx (`excel` extra) or fastText file (text files may be compressed: reviews.csv.gz), a
    folder with train/validation/test files or folders, a cloned data repository, a folder written by save_to_disk, or
    `hub:<dataset>[:config]`."""
    streaming: bool = setting(
        False,
        effect=Effect.TRAINING,
        stage=Stage.ROWS,
        why_fixed_in_forks="the checkpoint's position in the data depends on it",
    )
    """Read the training rows from their parquet files during training, instead of preparing all of them before. For
    data that are too large to prepare. The data need validation and test splits, which are prepared as usual."""
    shuffle_buffer: int = setting(
        20_000,
        effect=Effect.TRAINING,
        above=0,
        unit="rows",
        why_fixed_in_forks="the checkpoint's position in the data depends on it",
    )
    """With --streaming, number of rows that are in memory at once and shuffled together, rounded up to whole batches.
    They come from many parts of the files."""
    task: str | None = setting(None, effect=Effect.ROWS, stage=Stage.ROW_NUMBERS)
    """Kind of labels: single_label, multi_label, regression, or a task that a plugin registers. Guessed by default;
    the guess is reported."""
    text_column: str | None = setting(None, effect=Effect.ROWS, stage=Stage.ROW_NUMBERS)
    """Column with the text. Guessed by default if unambiguous; the guess is reported."""
    text_pair_column: str | None = setting(None, effect=Effect.ROWS, stage=Stage.ROW_NUMBERS)
    """Column with the second text of a pair. Guessed by default if unambiguous; the guess is reported."""
    label_column: str | None = setting(None, effect=Effect.ROWS, stage=Stage.ROW_NUMBERS)
    """Column with the label, the list of labels or the score. Guessed by default if unambiguous; the guess is
    reported. Several columns, separated by commas, each hold a 0 or 1 for one label."""
    group_column: str | None = setting(None, effect=Effect.ROWS, stage=Stage.ROWS)
    """Column with the group of a row, such as its author or its document. When validation, test or fold rows are split
    off, rows of one group stay together."""
    label_separator: str | None = setting(None, effect=Effect.ROWS, stage=Stage.ROW_NUMBERS)
    """Separator between several label names in one string, such as the comma in `joy,anger`. By default, a string is a
    single label."""
    allow_unknown_tokens: bool = setting(False, effect=Effect.ROWS, stage=Stage.TOKENS)
    """Train even if more than a third of the rows of a split have no token that the tokenizer knows."""
    encoding: str | None = setting(None, effect=Effect.ROWS, stage=Stage.ROWS)
    """Character encoding of text files. By default UTF-8, or UTF-16 if the file has a byte order mark."""
    quoting: Literal["auto", "csv", "none"] = setting("auto", effect=Effect.ROWS, stage=Stage.ROW_NUMBERS)
    """Meaning of quotes in csv and tsv files: they enclose fields (csv), or they are ordinary characters (none). auto
    means csv for csv files; for a tsv file, the content of the whole file decides."""
    columns: list[str] = setting([], effect=Effect.ROWS, stage=Stage.ROW_NUMBERS)
    """Column names of csv and tsv files without a header, separated by commas."""
    cleaning: list[str] = setting([], effect=Effect.ROWS, stage=Stage.ROWS, flags_replace_list=True)
    """Cleaning steps, applied in the given order (see --list cleaning)."""
    max_length: int = setting(512, effect=Effect.TRAINING, stage=Stage.INPUTS, above=0, unit="tokens")
    """Maximum length of an input in tokens, including special tokens."""
    truncation: Literal["head", "tail", "head_tail"] = setting("head_tail", effect=Effect.TRAINING, stage=Stage.INPUTS)
    """Part of a text to keep if it exceeds --max_length (or the tokens of --max_windows): its beginning (head), its end
    (tail), or half from each end (head_tail)."""
    template: str | None = setting(
        None,
        effect=Effect.TRAINING,
        stage=Stage.TOKENS,
        why_fixed_in_forks="the checkpoint's rows have the tokens of its template",
    )
    r"""Prompt template around each text, such as `Review: {text}\nSentiment:`; for pairs, with {text} and {text_pair}.
    Only the texts are truncated. `\n` is a line break, `{{` a brace."""
    long_texts: Literal["truncate", "windows"] = setting("truncate", effect=Effect.TRAINING, stage=Stage.INPUTS)
    """What to do with texts longer than an input of the encoder: keep the part that --truncation names (truncate), or
    cut them into overlapping windows, whose hidden states the head reads as one sequence (windows)."""
    window: int | None = setting(None, effect=Effect.TRAINING, stage=Stage.INPUTS, above=0, unit="tokens")
    """Maximum length of a window in tokens, including special tokens. null means --max_length."""
    stride: int | None = setting(None, effect=Effect.TRAINING, stage=Stage.INPUTS, above=0, unit="tokens")
    """Tokens from the start of one window to the start of the next. null means three quarters of --window."""
    max_windows: int = setting(16, effect=Effect.TRAINING, stage=Stage.INPUTS, above=0, unit="windows")
    """Maximum number of windows of a text. A longer text is first truncated to the tokens of this many windows, as
    --truncation says."""
    train_windows: int | None = setting(None, effect=Effect.TRAINING, above=0, unit="windows")
    """In training, choose this many windows of each text at random in every epoch, and drop its other windows. null
    uses all windows, as evaluations always do."""
    bad_rows: Literal["error", "skip"] = setting("error", effect=Effect.ROWS, stage=Stage.ROWS)
    """What to do with rows that have no text, no label or invalid characters: report them all in one error, or
    skip them."""
    unseen_labels: Literal["error", "skip", "count_as_wrong"] | None = setting(
        None, effect=Effect.ROWS, stage=Stage.ROWS
    )
    """What to do with validation and test rows whose label occurs in no training row: report them all in one error,
    skip them, or count them as wrong predictions. By default, --bad_rows applies."""
    limit_train: int | None = setting(None, effect=Effect.ROWS, stage=Stage.ROWS, above=0, unit="rows")
    """Train on a stratified sample of this many rows."""
    limit_validation: int | None = setting(None, effect=Effect.ROWS, stage=Stage.ROWS, above=0, unit="rows")
    """Validate on a stratified sample of this many rows."""
    limit_test: int | None = setting(None, effect=Effect.ROWS, stage=Stage.ROWS, above=0, unit="rows")
    """Test on a stratified sample of this many rows."""
    validation_share: float = setting(
        0.05, effect=Effect.ROWS, stage=Stage.ROWS, at_least=0, below=1, unit="share of the rows"
    )
    """Share of the training rows to split off for validation if the data have no validation split."""
    test_share: float = setting(
        0.2, effect=Effect.ROWS, stage=Stage.ROWS, at_least=0, below=1, unit="share of the rows"
    )
    """Share of the training rows to split off for testing if the data have no test split."""
    folds: int | None = setting(
        None,
        effect=Effect.ROWS,
        stage=Stage.ROW_NUMBERS,
        at_least=2,
        unit="folds",
        why_fixed_in_studies="all arms are compared on the same folds",
    )
    """Divide the training rows into this many parts for a cross-validation; the part --fold is the test split. The
    data's own test split is not used. A study runs all folds of each arm."""
    fold: int = setting(0, effect=Effect.ROWS, stage=Stage.ROWS, at_least=0, unit="number of the fold, from 0")
    """With --folds, the part of the training rows that is the test split."""
    split_seed: int = setting(0, effect=Effect.ROWS, stage=Stage.ROWS, at_least=0, at_most=LARGEST_SEED, unit="seed")
    """Seed for splitting off and sampling rows. It is independent of --seed, so that runs with different seeds use the
    same rows."""


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Training"""

    epochs: float = setting(1.0, effect=Effect.TRAINING, above=0, unit="passes")
    """Passes over the training split; may be a fraction."""
    max_steps: int | None = setting(None, effect=Effect.TRAINING, above=0, unit="steps")
    """Optimizer steps to train for; overrides --epochs."""
    batch_size: int = setting(
        32,
        effect=Effect.TRAINING,
        above=0,
        unit="examples",
        why_fixed_in_forks="the checkpoint counts its position in the data in batches of this size",
    )
    """Examples per optimizer step, over all processes."""
    sampling: Sampling = setting("natural", effect=Effect.TRAINING)
    """Shares of the labels in an epoch, which always has as many examples as there are training rows: those of the
    training rows (natural), equal shares (balanced), or proportional to the square root of the numbers of rows
    (square_root). Rows of rare labels are repeated, rows of frequent labels are left out; each epoch draws again."""
    micro_batch_size: int = setting(32, effect=Effect.ROUNDING, above=0, unit="examples")
    """Maximum number of examples that one process sends through the model at once."""
    window_batch_size: int = setting(32, effect=Effect.ROUNDING, above=0, unit="windows")
    """With --long_texts windows, maximum number of windows that one process sends through the encoder at once. If a
    micro-batch has more, the backward pass computes their activations again, so that memory is bounded."""
    gradient_checkpointing: bool = setting(False, effect=Effect.ROUNDING)
    """Keep only the inputs of the encoder's layers for the backward pass, which computes their activations again. This
    saves memory and takes more time. The gradients are the same."""
    optimizer: str | dict[str, Any] = setting(
        "adamw",
        effect=Effect.TRAINING,
        why_fixed_in_forks="the checkpoint's optimizer state depends on it; the edit set_optimizer changes it",
        value_names_arm=True,
    )
    """Optimizer (see --list optimizers). Set its options with --optimizer.<option>."""
    lr: float = setting(1e-4, effect=Effect.TRAINING, above=0, unit="per step")
    """Base learning rate of the encoder's last layer. In each step, the schedule multiplies it by a factor."""
    head_lr: float | None = setting(1e-3, effect=Effect.TRAINING, at_least=0, unit="per step")
    """Base learning rate of the randomly initialised head. null means the same as --lr."""
    layer_decay: float = setting(0.9, effect=Effect.TRAINING, above=0, unit="factor per layer")
    """Factor on the base learning rate for every layer further from the head; 1 disables it."""
    weight_decay: float = setting(0.01, effect=Effect.TRAINING, at_least=0, unit="per step, times the learning rate")
    """Decoupled weight decay (for sgd: an L2 penalty). It does not apply to norms and biases."""
    schedule: str | dict[str, Any] = setting("one_cycle", effect=Effect.TRAINING, value_names_arm=True)
    """Learning-rate schedule (see --list schedules). Set its options with --schedule.<option>."""
    schedule_interval: Literal["step", "epoch"] = setting("step", effect=Effect.TRAINING)
    """How often the learning rate changes: after every optimizer step, or after every epoch. A skipped step counts as
    a step of the run, but does not advance the learning rate."""
    warmup: str = setting("10%", effect=Effect.TRAINING, unit=TIME)
    """How long the learning rate rises at the start, as a time: 120st (steps), 0.25ep (epochs), 10% (of the run),
    20000ex (examples)."""
    max_grad_norm: float = setting(1.0, effect=Effect.TRAINING, at_least=0, unit="norm")
    """Maximum norm of the gradients; larger gradients are scaled down to it. 0 disables clipping."""
    mixed_precision: Literal["auto", "no", "bf16", "fp16"] = setting(
        "auto", effect=Effect.TRAINING, stage=Stage.HIDDEN_STATES
    )
    """Floating-point precision of the forward pass. auto uses the launcher's precision if it sets one, otherwise bf16
    if the hardware supports it natively, otherwise float32. The launcher's `no` counts only if it is a flag of
    accelerate launch; in accelerate's config file, `no` is the default and has no effect."""
    shard: Literal["fsdp2"] | None = setting(None, effect=Effect.ROUNDING)
    """Split parameters, gradients and optimizer states over the processes, so that a model need not fit on one device:
    with PyTorch's fully_shard (fsdp2). null: every process holds the whole model, and DDP averages the gradients."""
    shard_precision: Literal["auto", "float32", "bf16", "fp16"] = setting("auto", effect=Effect.ROUNDING)
    """With --shard, data type in which layers gather their parameters and compute. auto: that of --mixed_precision.
    fp16 needs --mixed_precision fp16. The parts of parameters are stored, and gradients averaged, in float32."""
    shard_group_size: int | None = setting(None, effect=Effect.ROUNDING, above=0, unit="processes")
    """With --shard, number of processes over which each copy of the model is split. It must divide the number of
    processes; gradients are then also averaged over the copies. null: one copy, split over all processes."""
    shard_cpu_offload: bool = setting(False, effect=Effect.ROUNDING)
    """With --shard on GPUs, keep parameters, gradients and optimizer states in the memory of the CPU while they are not
    used. This saves memory of the GPU and takes much more time."""
    shard_checkpoints: bool = setting(False, effect=Effect.NONE)
    """With --shard, every process writes its parts of the model and the optimizer's state into its own files of each
    checkpoint, instead of sending them to the main process. A run may continue such a checkpoint on any number of
    processes, with or without --shard."""
    compile: bool = setting(False, effect=Effect.ROUNDING)
    """Compile the model with torch.compile, and again after edits. On a CPU, this needs a C++ compiler."""
    compile_backend: Literal["inductor", "aot_eager", "eager"] = setting("inductor", effect=Effect.ROUNDING)
    """Backend of --compile. aot_eager and eager only trace the model, which helps to find errors."""
    cache_features: bool | None = setting(None, effect=Effect.ROUNDING, affects_feature_cache=True)
    """Compute the hidden states of a frozen encoder once, store them (in MIDWAY_CACHE) and train the head on them.
    true: if the encoder stays frozen for the whole run; null: only if the run also has more than one epoch; false:
    never."""
    cache_dtype: Literal["float32", "bf16"] = setting(
        "float32", effect=Effect.ROUNDING, stage=Stage.HIDDEN_STATES, affects_feature_cache=True
    )
    """Data type of stored hidden states. float32 keeps the encoder's data type; bf16 rounds float32 values to half
    the size."""
    on_nonfinite: Literal["error", "skip"] = setting("error", effect=Effect.NONE)
    """What to do if a loss, gradient or logit is not finite: stop the run, or skip the step and count it. A skipped
    evaluation has no metrics."""


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """Timeline and evaluation"""

    timeline: list[dict[str, Any]] = setting([], effect=Effect.TRAINING)
    """Edits during training (see --list edits), each with a time: {at: 10%, unfreeze: "encoder.layer[-2:]"}. Use
    `every:` for a repeated edit and `when: plateau(validation/loss, 3)` for a conditional one. May be repeated."""

    evaluate_every: str | None = setting("50%", effect=Effect.TRAINING, unit=PERIOD)
    """Time between evaluations on the validation split, such as 10% or 400st. null evaluates only at the end."""
    best_metric: str | None = setting(None, effect=Effect.TRAINING)
    """Validation metric (accuracy, f1_macro, ...) that selects the model to keep in best/. That model is tested
    instead of the last one."""
    patience: int | None = setting(None, effect=Effect.TRAINING, above=0, unit="evaluations")
    """Stop after this many evaluations in a row without an improvement in --best_metric (by default in the loss)."""
    evaluation_batch_size: int = setting(64, effect=Effect.ROUNDING, above=0, unit="examples")
    """Examples that one process evaluates at once."""
    score_test: bool = setting(True, effect=Effect.TEST)
    """Predict and score the test rows at the end. false leaves them for later, as in the trials of a search."""
    calibrate: bool = setting(False, effect=Effect.TEST)
    """At the end, learn a temperature from the validation rows and divide the logits of the tested model by it, so that
    probabilities match observed frequencies (Guo et al. 2017)."""
    thresholds: str | None = setting(None, effect=Effect.TEST, unit="criterion: f1, precision=0.9 or recall=0.9")
    """At the end, learn from the validation rows the probability above which each label is predicted, for multi-label
    tasks: f1 (highest F1), precision=0.9 (highest recall with at least this precision) or recall=0.9 (highest precision
    with at least this recall). null means 0.5 for every label."""


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Run"""

    name: str | None = setting(None, effect=Effect.INVOCATION, why_fixed_in_studies="each trial has its own name")
    """Name of the run; its directory is runs/<name>. By default, built from the encoder, the head, the data and the
    time."""
    output_dir: str | None = setting(
        None, effect=Effect.INVOCATION, why_fixed_in_studies="each trial has its own folder"
    )
    """Run directory, instead of runs/<name>."""
    overwrite: bool = setting(
        False,
        effect=Effect.INVOCATION,
        why_fixed_in_studies="a trial never replaces another run",
        study_alternative="delete its directory, or choose another --name",
    )
    """Replace an existing run directory."""
    resume: str | None = setting(
        None,
        effect=Effect.INVOCATION,
        why_fixed_in_studies="each trial continues from its own checkpoint",
        study_alternative="the same command continues a study",
    )
    """Checkpoint to continue from: `auto` for the newest one in the run directory, or a path."""
    init_from: str | None = setting(
        None,
        effect=Effect.TRAINING,
        stage=Stage.HIDDEN_STATES,
        why_fixed_in_forks="a fork starts from the checkpoint's weights",
        input_path=str,
    )
    """Run directory (or saved model) to load the initial weights from."""
    fork: str | None = setting(
        None,
        effect=Effect.TRAINING,
        why_fixed_in_studies="all trials fork the same run",
        input_path=find_parent_directory,
    )
    """Continue another run from one of its checkpoints as a new run: runs/a@step-400, or runs/a for the newest
    checkpoint. The new run inherits all settings that are not given."""
    save_every: str | None = setting(None, effect=Effect.NONE, unit=PERIOD)
    """Time between checkpoints, such as 10% or 400st; one more is saved after the last step. By default, a checkpoint
    is saved only if a signal ends the run."""
    keep: int = setting(2, effect=Effect.NONE, above=0, unit="checkpoints")
    """Number of checkpoints to keep; older checkpoints are deleted."""
    pause_at: str | None = setting(None, effect=Effect.NONE, unit=PERIOD)
    """Save a checkpoint at this time and end the run, to continue it later with --resume auto, or to fork it."""
    on_save_error: Literal["stop", "continue"] = setting("stop", effect=Effect.NONE)
    """What to do if a checkpoint cannot be written (for example on a full disk): stop, or continue without it. Earlier
    checkpoints are kept."""
    save_in_background: bool = setting(False, effect=Effect.NONE)
    """Write checkpoints while training continues. Each process copies what it saves, so it needs memory for one more
    copy of its parts of the model and the optimizer's state. An error in writing ends the run, or is reported
    (--on_save_error), at the next checkpoint."""
    seed: int = setting(
        0,
        effect=Effect.TRAINING,
        at_least=0,
        at_most=LARGEST_SEED,
        unit="seed",
        why_fixed_in_forks="the checkpoint's random states and order of examples depend on it",
    )
    """Seed for weight initialisation, dropout and the order of examples."""
    num_threads: int | None = setting(
        None, effect=Effect.ROUNDING, above=0, unit="threads", null_keeps_checkpoint_value=True
    )
    """CPU threads per process. By default, the machine's cores are divided among the processes."""
    deterministic: bool = setting(False, effect=Effect.ROUNDING)
    """Use only deterministic algorithms, also on a GPU. This is slower."""
    log_with: list[str] = setting(["tensorboard"], effect=Effect.NONE, flags_replace_list=True)
    """Trackers supported by accelerate (tensorboard, wandb, mlflow, comet_ml, ...). metrics.jsonl is always
    written."""
    log_every: int = setting(10, effect=Effect.NONE, above=0, unit="steps")
    """Steps between logged lines."""
    report: bool = setting(True, effect=Effect.NONE)
    """Write report.html, and figures for TensorBoard, when training ends. This takes about a second."""
    smoke: bool = setting(
        False,
        effect=Effect.TRAINING,
        stage=Stage.TOKENS,
        why_fixed_in_forks="it changes the rows and the number of steps",
        why_fixed_in_studies="a smoke test covers either all trials or none",
    )
    """Smoke test: run everything on three batches, in under half a minute."""
    profile: bool = setting(False, effect=Effect.NONE)
    """Write a torch profiler trace of a few steps to profile/, for TensorBoard or Perfetto."""


Settings = TypeVar("Settings", bound="CheckedSettings")


class CheckedSettings:
    """Base of dataclasses of settings that Python code creates: they refuse unknown names and wrong values."""

    def __new__(cls: type[Settings], **settings: Any) -> Settings:
        """Refuse unknown settings with the nearest name; the constructor of a dataclass would not suggest one."""
        known = [item.name for item in dataclasses.fields(cls)]  # type: ignore[arg-type]
        for name in settings:
            if name not in known:
                message = describe_unknown("setting", name, known, listed_as="Settings")
                raise without_traceback(UnknownNameError(message))
        return super().__new__(cls)

    def __post_init__(self) -> None:
        try:
            self._check()
        except ValueError as error:
            raise without_traceback(error) from None

    def _check(self) -> None:
        """Check the types and bounds of the values.

        Raises:
            ValueError: naming the setting, what is expected and the value.
        """
        group: type = type(self)
        for name, type_hint in typing.get_type_hints(group).items():
            _check_type(name, getattr(self, name), type_hint)
        for name, declared in declarations(group).items():
            check_bounds(name, getattr(self, name), declared)


@dataclass(frozen=True, kw_only=True)
class RunConfig(RunSettings, EvaluationSettings, TrainingSettings, DataSettings, ModelSettings, CheckedSettings):
    """All settings of a run."""

    def _check(self) -> None:
        super()._check()
        parse_template(self.template)
        if self.fold >= (self.folds or 1):
            expected = "0, since there is no --folds" if self.folds is None else f"less than --folds {self.folds}"
            raise ValueError(f"Expected --fold to be {expected}; got {self.fold}.")
        if self.name is not None and (not self.name or self.name[0] in "/~" or ".." in self.name.split("/")):
            raise ValueError(
                f"Expected the name of a folder in runs/, got '{self.name}'. Use --output_dir for any other path."
            )

    @property
    def head_name(self) -> str:
        """Name of the head; `default` if the encoder will determine it."""
        return name_of_head(self.head)

    @property
    def input_length(self) -> int:
        """Maximum length of an input of the encoder in tokens, including special tokens."""
        return self.max_length if self.window is None else self.window

    @property
    def window_stride(self) -> int | None:
        """Tokens from the start of one window to the start of the next; None if texts are truncated."""
        if self.long_texts == "truncate":
            return None
        return max(1, self.input_length * 3 // 4) if self.stride is None else self.stride

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values, ordered by group."""
        return {item.name: getattr(self, item.name) for group in SETTING_GROUPS for item in dataclasses.fields(group)}

    def input_paths(self) -> list[tuple[str, str]]:
        """Return (setting, path) for every path that the run may read from; a list setting gives a pair per item.

        A path need not exist: `imdb` is returned too.

        Raises:
            ValueError: if a path cannot be extracted from a value.
        """
        paths = []
        for name, declared in declarations(RunConfig).items():
            value = getattr(self, name)
            if declared.input_path is not None and value is not None:
                paths += [(name, declared.input_path(item)) for item in (value if isinstance(value, list) else [value])]
        return paths

    def to_recipe(self) -> dict[str, Any]:
        """Return the settings of a recipe that repeats the run: all except those that concern one invocation."""
        declared = declarations(RunConfig)
        return {name: value for name, value in self.to_dict().items() if declared[name].effect is not Effect.INVOCATION}


def _check_type(name: str, value: Any, type_hint: Any) -> None:
    """Check the type of a value. Python code may pass any value, whereas the command line's parser checks types.

    Raises:
        ValueError: naming the setting, the expected type and the value.
    """
    if not value_types.accepts(type_hint, value):
        raise ValueError(f"Expected {name} to be {value_types.describe_type(type_hint)}; got {value!r}.")


SETTING_GROUPS = (ModelSettings, DataSettings, TrainingSettings, EvaluationSettings, RunSettings)
"""Groups of settings, in the order of `--help`. The docstring of each group is its title there."""
