"""Compute the hidden states of a run's rows before training, and use them in the run instead of running the encoder."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from accelerate.utils import broadcast_object_list, gather_object
from datasets import Dataset
from torch import Tensor

from research.data.batches.batch import Batch
from research.data.batches.order import RowIndices
from research.data.prepare import cache, cache_entries
from research.data.prepare.arrow import hash_rows
from research.edits.base import Editable
from research.features.cache import Layers, find_features, find_or_build
from research.features.encoder_passes import (
    LayerStates,
    Request,
    dismiss_helpers,
    help_leader,
    run_encoder_on_all,
)
from research.features.guard import CachingDecision, EncoderSnapshot, has_foreign_forward_hooks
from research.features.pooled import find_or_pool
from research.features.store import FEATURES_FORMAT, DamageError, FeatureStore, Layer, RowLayout, write_features
from research.model.encoder_with_head import EncoderWithHead
from research.records.results import weights_sha256
from research.system import durable
from research.system.checksums import checksums
from research.system.events import report_hidden_states
from research.system.messages import logger
from research.system.waiting import WaitingMessage, WaitingProgress
from research.training.rounding import rounding_environment

if TYPE_CHECKING:
    from research.training.run import TrainingRun


class UnstorableError(ValueError):
    """The encoder's hidden states cannot be stored."""


class Features:
    """The stored hidden states of a run's splits.

    Args:
        run: the run, whose encoder gives these hidden states.
        stores: the stored hidden states of each split.
    """

    def __init__(self, run: TrainingRun, stores: dict[str, FeatureStore]) -> None:
        self.stores = stores
        decisive = "".join(store.last_hash for split, store in stores.items() if split != "test")
        self.digest = hashlib.sha256(decisive.encode()).hexdigest()
        """Hash of the stored hidden states of the last layer. It changes with any difference in rounding. Those of the
        test rows do not count, since they do not affect training."""
        self.snapshot = EncoderSnapshot.of(run)
        self._checksums = checksums(run.encoder_with_head.encoder)
        self._pooled: dict[tuple[str, str, Layers], FeatureStore | None] = {}  # None if they could not be stored

    def why_unusable(self, model: EncoderWithHead) -> str | None:
        """Return why the stored hidden states cannot be used for the next batch; None if they can."""
        wants_all = model.head.wants == "all_hidden_states"
        if wants_all and not all(store.has_all_layers for store in self.stores.values()):
            return f"the head '{model.config.head}' reads all layers, but only the last is stored"
        return self.snapshot.why_unusable(model)

    def why_unusable_after_edits(self, run: Editable) -> str | None:
        """Return why the stored hidden states cannot be used after the edits just applied; None if they can."""
        return self.snapshot.why_unusable_after_edits(run)

    def add_to(self, batch: Batch, model: EncoderWithHead, split: str, rows: RowIndices) -> Batch:
        """Return the batch with the hidden states that the head reads, pooled if possible.

        Nothing is added if those of the split are not stored.
        """
        if split not in self.stores:
            return batch
        all_layers = model.head.wants == "all_hidden_states"
        mask = batch.inputs["attention_mask"]
        assert isinstance(mask, Tensor)
        pooled = self.find_pooled(split, model)
        if pooled is None:
            added = {"hidden_states": self.stores[split].read_batch(rows, mask, all_layers=all_layers)}
        else:
            self.stores[split].check_lengths(rows, mask)
            added = {"pooled_states": pooled.read_batch(rows, mask.new_ones(len(mask), 1), all_layers=all_layers)}
        return dataclasses.replace(batch, inputs={**batch.inputs, **added})

    def pool_for(self, model: EncoderWithHead) -> None:
        """Pool the hidden states of all splits for the model's head, so that the first step need not."""
        for split in self.stores:
            self.find_pooled(split, model)

    def find_pooled(self, split: str, model: EncoderWithHead) -> FeatureStore | None:
        """Return the hidden states of a split, pooled for the model's head; None if it must read those of all tokens.

        This is the case if it does not start with a pooling, if a user's forward hooks may look at what it reads, or if
        pooled hidden states cannot be stored.
        """
        pooling = model.head.input_pooling
        if pooling is None or has_foreign_forward_hooks(model.head.modules()):
            return None
        layers: Layers = "all" if model.head.wants == "all_hidden_states" else "last"
        key = (split, pooling, layers)
        if key not in self._pooled:
            try:
                with WaitingMessage(f"Pooling the hidden states of {split}"):
                    self._pooled[key] = find_or_pool(self.stores[split], pooling, layers)
            except (durable.StorageError, DamageError) as error:
                report_hidden_states(f"{str(error).rstrip('.')}. The head reads the hidden states of all tokens.")
                self._pooled[key] = None
        return self._pooled[key]

    def check_weights(self, current_checksums: dict[str, int]) -> None:
        """Check that the encoder's weights are those that computed the stored hidden states.

        This also finds changes that torch's version counters miss.

        Args:
            current_checksums: checksums of the model's parameters and buffers, by name.
        Raises:
            ValueError: if the weights have changed.
        """
        if any(current_checksums[f"encoder.{name}"] != number for name, number in self._checksums.items()):
            raise ValueError(
                "The weights of the frozen encoder were changed (through .data or numpy) while its hidden states were "
                "read from the cache. Run with --cache_features false."
            )

    def reattach_to(self, run: Editable) -> str | None:
        """Use the stored hidden states with the run's new model; return the reason if this is impossible, else None."""
        if checksums(run.encoder_with_head.encoder) != self._checksums:
            return "the encoder's weights have changed"
        self.snapshot = EncoderSnapshot.of(run)
        return None


def use_features(run: TrainingRun, decision: CachingDecision, layers: Layers) -> None:
    """Use stored hidden states in a run if possible; otherwise report why not.

    Called on every process. The run's model must be as in its first step, but the set of frozen parameters may differ.

    Args:
        run: the run, whose hidden states should be cached if possible.
        decision: whether they can be cached.
        layers: the layers that must be stored; `decision` may require all layers instead of the last.
    """
    if decision.reason is not None:
        if run.config.cache_features or decision.starts_frozen:
            report_hidden_states(f"Hidden states are not cached: {decision.reason}.")
    elif run.batches.cache_disabled:
        report_hidden_states("Hidden states are not cached: the run had stopped using the cache before its checkpoint.")
    else:
        features = open_features(run, "all" if "all" in (layers, decision.layers) else "last")
        if features is not None:
            features.pool_for(run.encoder_with_head)
        run.batches.features, run.batches.cache_disabled = features, features is None
    if run.batches.features is not None:
        logger.info(
            f"The encoder stays frozen: its hidden states are read from {cache.find_cache_dir(run.splits.cache_dir)}."
        )
        if run.origin.features_digest not in (None, run.batches.features.digest):
            report_hidden_states(
                "Changed since the checkpoint: these hidden states were computed again, and may be rounded differently."
            )


def open_features(run: TrainingRun, layers: Layers) -> Features | None:
    """Return the hidden states of the splits that a run reads. Those that are not in the cache are computed first.

    Called on every process. The main process stores them. If another process then does not find them, because it is on
    a different machine, it stores them there, too.

    Args:
        run: the run.
        layers: the layers that its heads read.
    Returns:
        The hidden states; None if they cannot be stored. A message then reports the reason.
    """
    accelerator = run.accelerator
    entries = _find_entries(run)
    stores: dict[str, FeatureStore] | None = None
    leader: int | None = 0
    while leader is not None:
        if accelerator.process_index == leader:
            stores = _open_splits(run, entries, layers)
            dismiss_helpers(run)
        else:
            help_leader(run, leader)
        is_stored = [stores is not None]
        broadcast_object_list(is_stored, from_process=leader)
        if not is_stored[0]:
            if leader > 0:
                report_hidden_states(
                    "Not every process can store hidden states. The run continues without stored ones."
                )
            return None
        stores = stores or _find_splits(entries, layers)
        is_open = gather_object([stores is not None])
        leader = next((process for process, has_stores in enumerate(is_open) if not has_stores), None)
    assert stores is not None
    run.wrapping.restore_parameters()
    return Features(run, stores)


class Entry(NamedTuple):
    """The place of a split's hidden states in the cache."""

    folder: Path
    """The folder of the cache."""
    key: str
    """Fingerprint of the hidden states."""
    layout: RowLayout
    """Position of each row in the files."""

    def find(self, layers: Layers) -> FeatureStore | None:
        """Return the stored hidden states, or None if they are missing or damaged."""
        return find_features(self.folder, self.key, layers, self.layout)


def _find_entries(run: TrainingRun) -> dict[str, Entry]:
    """Return the place of each split's hidden states in the cache; called on every process."""
    folder = cache.find_cache_dir(run.splits.cache_dir)
    with WaitingMessage("Looking for stored hidden states"):
        encoder_description = _describe_encoder(run)
        return {
            split: Entry(folder, _fingerprint(run, encoder_description, rows), _lay_out(run, split))
            for split, rows in run.splits.items()
            if split != "test" or run.config.score_test
        }


def _lay_out(run: TrainingRun, split: str) -> RowLayout:
    return RowLayout.of(run.lengths_of(split), run.collator.max_row_length)


def _find_splits(entries: dict[str, Entry], layers: Layers) -> dict[str, FeatureStore] | None:
    """Return the stored hidden states of each split; None if some are missing or damaged."""
    stores = {split: entry.find(layers) for split, entry in entries.items()}
    found = {split: store for split, store in stores.items() if store is not None}
    return found if found.keys() == stores.keys() else None


def _open_splits(run: TrainingRun, entries: dict[str, Entry], layers: Layers) -> dict[str, FeatureStore] | None:
    """Return the stored hidden states of each split, computed if they are missing; None if they cannot be stored.

    All other processes must be in `help_leader`.
    """

    @functools.cache
    def layers_to_store() -> list[Layer]:
        return _describe_layers(run, layers)

    def build(split: str, target: Path) -> None:
        folder, _, layout = entries[split]
        sizes = {
            name: sum(layer.num_bytes(entry.layout.num_tokens) for layer in layers_to_store())
            for name, entry in entries.items()
        }
        report_hidden_states(_describe_storage(split, len(layout.order), sizes[split], layers_to_store(), folder))
        # Check the space for all missing splits, so that the disk is not filled before the last one fails.
        missing = [name for name, entry in entries.items() if entry.find(layers) is None]
        durable.check_space(folder, needed=sum(sizes[name] for name in missing))
        with durable.converting_write_errors(folder, needed=sizes[split]):
            states = compute_hidden_states(run, split, layout.order, layers)
            about = {
                "data": run.splits.source,
                "encoder": run.config.encoder,
                "split": split,
                "rows": len(layout.order),
            }
            write_features(target, layers_to_store(), states, about)
        cache_entries.evict_least_used(folder)

    stores = {}
    try:
        for split, (folder, key, layout) in entries.items():
            with durable.converting_write_errors(folder, needed=0):
                stores[split] = find_or_build(folder, key, layers, layout, functools.partial(build, split))
    except (durable.StorageError, DamageError, UnstorableError) as error:
        report_hidden_states(f"{str(error).rstrip('.')}. The run continues without stored hidden states.")
        return None
    return stores


def _describe_encoder(run: TrainingRun) -> list[Any]:
    """Return everything that determines the encoder's outputs for given inputs, with dropout disabled.

    Called on every process.
    """
    encoder = run.encoder_with_head.encoder
    excluded = ("_name_or_path", "transformers_version")
    config = {
        name: value
        for name, value in encoder.config.to_dict().items()
        if name not in excluded and "dropout" not in name
    }
    computation = [encoder.config._attn_implementation, run.accelerator.mixed_precision, run.accelerator.device.type]
    if run.wrapping.compute_dtype is not None:
        computation.append(str(run.wrapping.compute_dtype))
    environments = gather_object([rounding_environment(run.accelerator.device)])
    return [
        weights_sha256(encoder),
        json.loads(json.dumps(config, default=str)),
        computation,
        # Usually only one: each process computes a part of the rows.
        *(each for index, each in enumerate(environments) if each not in environments[:index]),
    ]


def _fingerprint(run: TrainingRun, encoder_description: list[Any], rows: Dataset) -> str:
    """Return the cache key of a split's hidden states. It does not depend on which layers are stored.

    Args:
        run: the run.
        encoder_description: result of `_describe_encoder`.
        rows: the split's rows.
    """
    columns = [name for name in ("input_ids", "pair_ids") if name in rows.column_names]
    inputs = [hash_rows([rows], columns), run.collator.settings()]
    return cache.fingerprint(FEATURES_FORMAT, encoder_description, *inputs, run.config.cache_dtype)


def _describe_layers(run: TrainingRun, layers: Layers) -> list[Layer]:
    """Run the encoder on the longest row, and return descriptions of the layers to store.

    All other processes must be in `help_leader`.

    Raises:
        UnstorableError: if all layers are to be stored, and the last one differs from the encoder's output.
    """
    row = _lay_out(run, "train").order[:1]
    (states,) = run_encoder_on_all(run, Request("train", [row], layers))
    if layers == "all":
        ((output,),) = run_encoder_on_all(run, Request("train", [row], "last"))
        if not torch.equal(states[-1], output):
            raise UnstorableError("The last of the encoder's hidden states differs from its output.")
    num_layers = run.encoder_with_head.config.encoder.num_hidden_layers

    def stored_type(dtype: torch.dtype) -> str:
        in_half_precision = run.config.cache_dtype == "bf16" and dtype == torch.float32
        return "bfloat16" if in_half_precision else _type_name(dtype)

    return [
        Layer(f"layer-{number}.bin", layer.shape[-1], stored_type(layer.dtype), _type_name(layer.dtype))
        for number, layer in enumerate(states, start=num_layers + 1 - len(states))  # 0 is the embedding layer
    ]


def _type_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def compute_hidden_states(run: TrainingRun, split: str, order: RowIndices, layers: Layers) -> Iterator[LayerStates]:
    """Yield the hidden states of a split batch by batch. All other processes must be in `help_leader`.

    Args:
        run: the run, whose encoder computes the hidden states.
        split: train, validation or test.
        order: the rows, in the order in which the encoder is run on them.
        layers: the layers to return.
    """
    batch_size, num_processes = run.config.evaluation_batch_size, run.accelerator.num_processes
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    with WaitingProgress(f"running the encoder on {split}", len(order), "row") as progress:
        for start in range(0, len(batches), num_processes):
            at_once = batches[start : start + num_processes]
            yield from run_encoder_on_all(run, Request(split, at_once, layers))
            progress.update(sum(map(len, at_once)))


def _describe_storage(split: str, num_rows: int, num_bytes: int, layers: list[Layer], folder: Path) -> str:
    number_type = layers[-1].stored
    hint = " (--cache_dtype bf16 halves the size)" if number_type == "float32" else ""
    size = durable.format_bytes(num_bytes)
    return f"Storing the hidden states of {num_rows:,} rows of {split}: {size} in {number_type}{hint}, in {folder}"
