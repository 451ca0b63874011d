"""The parts of each family of encoders, under names that are the same for all families.

The blocks of a model are the parts with one learning rate each: `embeddings`, `layer.0` ... `layer.N-1`, `rest` (final
norms, relative-position tables, convolutions) and `head`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from heads.base import Head

logger = logging.getLogger(__name__)

NamedParameters = list[tuple[str, nn.Parameter]]


@dataclass(frozen=True)
class Family:
    """Names of the parts and config fields in the encoders of one `model_type`."""

    embeddings: tuple[str, ...]
    """Modules between the token ids and the first layer."""
    layers: str
    """Module that contains the list of layers."""
    dropout: tuple[str, ...] = ("hidden_dropout_prob",)
    """Config fields with the dropout probability outside attention."""
    attention_dropout: tuple[str, ...] = ("attention_probs_dropout_prob",)
    """Config fields with the dropout probability of attention weights."""
    shares_layers: bool = False
    """Whether the list contains groups of layers that are run several times each (ALBERT)."""
    num_reserved_positions: int = 0
    """Number of rows in the position table that are not used for tokens."""


_BERT = Family(embeddings=("embeddings",), layers="encoder.layer")
# Positions of these families start at padding_idx + 1: https://github.com/huggingface/transformers/issues/1363
_ROBERTA = Family(embeddings=("embeddings",), layers="encoder.layer", num_reserved_positions=2)

FAMILIES: dict[str, Family] = {
    "albert": Family(
        embeddings=("embeddings", "encoder.embedding_hidden_mapping_in"),
        layers="encoder.albert_layer_groups",
        shares_layers=True,
    ),
    "bert": _BERT,
    "deberta-v2": _BERT,
    "distilbert": Family(
        embeddings=("embeddings",),
        layers="transformer.layer",
        dropout=("dropout",),
        attention_dropout=("attention_dropout",),
    ),
    "electra": Family(embeddings=("embeddings", "embeddings_project"), layers="encoder.layer"),
    "modernbert": Family(
        embeddings=("embeddings",),
        layers="layers",
        dropout=("embedding_dropout", "mlp_dropout"),
        attention_dropout=("attention_dropout",),
    ),
    "mpnet": _ROBERTA,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
}
"""Families by their `model_type`; a plugin may add its own."""


def set_dropout(config: PretrainedConfig, *, dropout: float | None, attention_dropout: float | None) -> None:
    """Set an encoder's dropout probabilities in its config. A probability that is None is not changed.

    Raises:
        ValueError: if a probability is given and the config has no known field for it. For an attention dropout of 0,
            which is the default of --attention_dropout, a warning is logged instead.
    """
    family = FAMILIES.get(config.model_type)
    for kind, probability in (("dropout", dropout), ("attention_dropout", attention_dropout)):
        if probability is None:
            continue
        names = getattr(family, kind) if family else _usual_names(kind, config)
        if not names and kind == "attention_dropout" and probability == 0:  # the setting's default
            logger.warning("Unknown family '%s': its attention dropout is not changed.", config.model_type)
        elif not names:
            raise ValueError(
                f"Cannot set the {kind} of an encoder of the family '{config.model_type}': its config field is not "
                f"known. Set {kind} to null, or add the family to research.model.families.FAMILIES in a plugin."
            )
        for name in names:
            setattr(config, name, probability)


def _usual_names(kind: str, config: PretrainedConfig) -> list[str]:
    """Return the config fields of an unknown family that have the same name as in a known family."""
    usual = dict.fromkeys(name for family in FAMILIES.values() for name in getattr(family, kind))
    return [name for name in usual if hasattr(config, name)]


def longest_input(config: PretrainedConfig) -> int | None:
    """Return the maximum length of an encoder's inputs in tokens, or None if its config sets no limit."""
    num_positions = getattr(config, "max_position_embeddings", None)
    # DeBERTa without `position_biased_input` has only relative positions, which are not limited.
    if num_positions is None or not getattr(config, "position_biased_input", True):
        return None
    family = FAMILIES.get(config.model_type)
    return int(num_positions) - (family.num_reserved_positions if family else 0)


def encoder_blocks(encoder: PreTrainedModel) -> list[tuple[str, NamedParameters]]:
    """Return the encoder's blocks that have parameters: `embeddings`, the layers in order, `rest`.

    Args:
        encoder: the encoder.
    Returns:
        Name of each block, and its parameters by their names within the encoder. Every parameter is in exactly one
        block.
    """
    family = find_family(encoder)
    layers = encoder.get_submodule(family.layers)
    assert isinstance(layers, nn.ModuleList)
    prefixes = {f"{name}.": "embeddings" for name in family.embeddings}
    prefixes |= {f"{family.layers}.{index}.": f"layer.{index}" for index in range(len(layers))}
    blocks: dict[str, NamedParameters] = {
        name: [] for name in ("embeddings", *(f"layer.{index}" for index in range(len(layers))), "rest")
    }
    for name, parameter in encoder.named_parameters():
        block = next((block for prefix, block in prefixes.items() if name.startswith(prefix)), "rest")
        blocks[block].append((name, parameter))
    return [(name, parameters) for name, parameters in blocks.items() if parameters]


def model_blocks(encoder: PreTrainedModel, head: Head) -> list[tuple[str, NamedParameters]]:
    """Return a model's blocks: the encoder's, then `head`. Parameters have their names in `EncoderWithHead`."""
    blocks = [
        (block, [(f"encoder.{name}", parameter) for name, parameter in parameters])
        for block, parameters in encoder_blocks(encoder)
    ]
    return [*blocks, ("head", [(f"head.{name}", parameter) for name, parameter in head.named_parameters()])]


def find_family(encoder: PreTrainedModel) -> Family:
    """Return the family of an encoder. A family that is not in `FAMILIES` is guessed from the encoder's modules.

    Raises:
        ValueError: if the family is unknown and the encoder has no list of layers.
    """
    model_type = encoder.config.model_type
    if model_type in FAMILIES:
        return FAMILIES[model_type]
    module_lists = {name: module for name, module in encoder.named_modules() if isinstance(module, nn.ModuleList)}
    if not module_lists:
        raise ValueError(
            f"Found no layers in an encoder of the family '{model_type}'. Add the family to "
            "research.model.families.FAMILIES in a plugin."
        )
    layers = max(module_lists, key=lambda name: len(module_lists[name]))
    word_embeddings = encoder.get_input_embeddings()
    # The word embeddings themselves if they are a direct child, otherwise the direct child that contains them.
    embeddings = next(name for name, module in encoder.named_children() if word_embeddings in list(module.modules()))
    if layers.startswith(f"{embeddings}."):  # that child contains the layers, too
        embeddings = next(name for name, module in encoder.named_modules() if module is word_embeddings)
    logger.warning(
        "Unknown family '%s': assuming that '%s' are its layers and '%s' its embeddings.",
        model_type,
        layers,
        embeddings,
    )
    return Family(embeddings=(embeddings,), layers=layers, dropout=(), attention_dropout=())
