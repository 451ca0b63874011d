"""The parts of each family of encoders, under names that are the same for all families.

The blocks of a model are the parts with one learning rate each: `embeddings`, `layer.0` ... `layer.N-1`, `rest` (final
norms, relative-position tables, convolutions) and `head`.
"""

from __future__ import annotations

import fnmatch
import logging
import re
from collections.abc import Sequence

from torch import nn
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)

from heads.base import Head
from research.model.family import Family, Positions
from research.model.family_table import FAMILIES
from research.model.prompt_tuning import PROMPT_TUNING

logger = logging.getLogger(__name__)

NamedParameters = list[tuple[str, nn.Parameter]]


def set_dropout(config: PretrainedConfig, *, dropout: float | None, attention_dropout: float | None) -> None:
    """Set an encoder's dropout probabilities in its config. A probability that is None is not changed.

    Raises:
        ValueError: if a probability is given and the config has no field for it. A probability of 0 is accepted if the
            family has no such dropout. For an attention dropout of 0, which is the default of --attention_dropout, a
            warning is logged instead.
    """
    family = FAMILIES.get(config.model_type)
    for kind, probability in (("dropout", dropout), ("attention_dropout", attention_dropout)):
        if probability is None:
            continue
        names = _usual_names(kind, config) if family is None else getattr(family, kind)
        if names is None and kind == "attention_dropout" and probability == 0:  # the setting's default
            logger.warning(
                "The attention dropout of the family '%s' is not changed: its config has no known field for it alone.",
                config.model_type,
            )
        elif names is None:
            raise ValueError(
                f"Cannot set the {kind} of an encoder of the family '{config.model_type}': its config field is not "
                f"known. Set {kind} to null, or add the family to research.model.family_table.FAMILIES in a plugin."
            )
        elif not names and probability > 0:
            raise ValueError(
                f"Cannot set the {kind} of an encoder of the family '{config.model_type}' to {probability}: such "
                f"encoders have no {kind} of their own. Set {kind} to null."
            )
        for name in names or ():
            setattr(config, name, probability)


def disable_layerdrop(config: PretrainedConfig) -> None:
    """Never skip whole layers at random (LayerDrop, Fan et al. 2020).

    A skipped layer gets no gradient, and each process would skip different layers, so that DDP would fail.
    """
    for name in ("layerdrop", "encoder_layerdrop"):
        if getattr(config, name, None):
            logger.warning(
                "LayerDrop (%s) is set from %g to 0: each process would skip different layers.",
                name,
                getattr(config, name),
            )
            setattr(config, name, 0.0)


def has_dropout(config: PretrainedConfig) -> bool:
    """Return whether an encoder has dropout outside attention; True for an unknown family."""
    family = FAMILIES.get(config.model_type)
    return family is None or family.dropout != ()


def _usual_names(kind: str, config: PretrainedConfig) -> list[str] | None:
    """Return the config fields of an unknown family that have the same name as in a known family; None if none has."""
    usual = dict.fromkeys(name for family in FAMILIES.values() for name in getattr(family, kind) or ())
    return [name for name in usual if hasattr(config, name)] or None


def longest_input(config: PretrainedConfig) -> int | None:
    """Return the maximum length of an encoder's inputs in tokens, or None if its config sets no limit."""
    num_positions = getattr(config, "max_position_embeddings", None)
    # XLNet's config has -1. DeBERTa without `position_biased_input` has only relative positions, without a limit.
    if num_positions is None or num_positions < 1 or not getattr(config, "position_biased_input", True):
        return None
    return int(num_positions) - first_position(config)


def positions_of(config: PretrainedConfig) -> Positions:
    """Return how an encoder numbers positions. For an unknown family, the assumption is valid for most encoders."""
    family = FAMILIES.get(config.model_type)
    return Positions.FROM_LEFT_END if family is None else family.positions


def pads_left(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Return whether rows are padded on the left: as the tokenizer does, unless the encoder would misread it."""
    return tokenizer.padding_side == "left" and positions_of(config) is not Positions.FROM_LEFT_END


def first_position(config: PretrainedConfig) -> int:
    """Return the position id of a row's first token; the ids below it are reserved for padding."""
    # https://github.com/huggingface/transformers/issues/1363
    if positions_of(config) is Positions.AFTER_PADDING_ID and config.pad_token_id is not None:
        return int(config.pad_token_id) + 1
    return 0


def is_causal(config: PretrainedConfig) -> bool:
    """Return whether each token of an encoder attends only to itself and to the tokens before it."""
    return is_causal_by_default(config) and getattr(config, "is_causal", None) is not False  # see --bidirectional


def is_causal_by_default(config: PretrainedConfig) -> bool:
    """Return whether an encoder is causal unless it is made bidirectional.

    An unknown family is assumed to be causal if Transformers has language models of it but no masked language models.
    """
    family = FAMILIES.get(config.model_type)
    if family is not None and family.is_causal:
        return True
    if getattr(config, "is_decoder", False) and not config.is_encoder_decoder:
        return True
    name = config.model_type
    return family is None and (
        name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and name not in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    )


def unused_parameters(encoder: PreTrainedModel) -> set[nn.Parameter]:
    """Return the encoder's parameters that never get a gradient, as far as its family declares them."""
    family = FAMILIES.get(encoder.config.model_type)
    patterns = () if family is None else family.unused
    parameters = dict(encoder.named_parameters())
    return {parameters[name] for pattern in patterns for name in fnmatch.filter(parameters, pattern)}


def uncalled_layers(encoder: PreTrainedModel) -> set[nn.Module]:
    """Return the linear layers that the encoder never calls, as far as its family declares them."""
    family = FAMILIES.get(encoder.config.model_type)
    patterns = () if family is None else family.uncalled
    modules = dict(encoder.named_modules())
    return {modules[name] for pattern in patterns for name in fnmatch.filter(modules, pattern)}


def encoder_blocks(encoder: PreTrainedModel) -> list[tuple[str, NamedParameters]]:
    """Return the encoder's blocks that have parameters: `embeddings`, the layers in order, `rest`.

    Args:
        encoder: the encoder.
    Returns:
        Name of each block, and its parameters by their names within the encoder. Every parameter is in exactly one
        block.
    """
    family = find_family(encoder)
    num_layers = count_layers(encoder, family)
    prefixes = {f"{name}.": "embeddings" for name in (*family.embeddings, PROMPT_TUNING)}
    prefixes |= {f"{name}.{index}.": f"layer.{index}" for name in family.layers for index in range(num_layers)}
    blocks: dict[str, NamedParameters] = {
        name: [] for name in ("embeddings", *(f"layer.{index}" for index in range(num_layers)), "rest")
    }
    for name, parameter in encoder.named_parameters():
        # The dot makes the name of a parameter, such as a table of positions, match its own prefix.
        block = next((block for prefix, block in prefixes.items() if f"{name}.".startswith(prefix)), "rest")
        blocks[block].append((name, parameter))
    return [(name, parameters) for name, parameters in blocks.items() if parameters]


def model_blocks(encoder: PreTrainedModel, head: Head) -> list[tuple[str, NamedParameters]]:
    """Return a model's blocks: the encoder's, then `head`. Parameters have their names in `EncoderWithHead`."""
    blocks = [
        (block, [(f"encoder.{name}", parameter) for name, parameter in parameters])
        for block, parameters in encoder_blocks(encoder)
    ]
    return [*blocks, ("head", [(f"head.{name}", parameter) for name, parameter in head.named_parameters()])]


def count_layers(encoder: nn.Module, family: Family) -> int:
    """Return the number of an encoder's layers; 0 if they are unknown."""
    lists = [encoder.get_submodule(name) for name in family.layers]
    assert all(isinstance(modules, nn.ModuleList) for modules in lists)
    return len(lists[0]) if lists else 0  # type: ignore[arg-type]


def find_family(encoder: PreTrainedModel) -> Family:
    """Return the family of an encoder.

    The parts of a family that is not in `FAMILIES` are guessed from the encoder's modules. If the guess does not
    explain all parameters, the encoder has no known layers, and its parameters are in the block `rest`.
    """
    model_type = encoder.config.model_type
    if model_type in FAMILIES:
        return FAMILIES[model_type]
    guess = _guess_family(encoder)
    problem = "it has no list of layers" if guess is None else _find_problem(encoder, guess)
    if guess is None or problem is not None:
        logger.warning(
            "Unknown family '%s': its layers are not known, because %s. The whole encoder is one block, and selectors "
            "of layers are refused.",
            model_type,
            problem,
        )
        return Family(embeddings=(), layers=(), dropout=None, attention_dropout=None)
    logger.warning(
        "Unknown family '%s': assuming that '%s' are its layers and '%s' its embeddings.",
        model_type,
        guess.layers[0],
        guess.embeddings[0],
    )
    return guess


def _guess_family(encoder: PreTrainedModel) -> Family | None:
    """Return the likely parts of an encoder: its longest list of modules, and what contains the word embeddings."""
    module_lists = {name: module for name, module in encoder.named_modules() if isinstance(module, nn.ModuleList)}
    if not module_lists:
        return None
    layers = max(module_lists, key=lambda name: len(module_lists[name]))
    word_embeddings = encoder.get_input_embeddings()
    # The word embeddings themselves if they are a direct child, otherwise the direct child that contains them.
    embeddings = next(name for name, module in encoder.named_children() if word_embeddings in list(module.modules()))
    if layers.startswith(f"{embeddings}."):  # that child contains the layers, too
        embeddings = next(name for name, module in encoder.named_modules() if module is word_embeddings)
    return Family(embeddings=(embeddings,), layers=(layers,), dropout=None, attention_dropout=None)


def _find_problem(encoder: PreTrainedModel, guess: Family) -> str | None:
    """Return why guessed parts cannot be right; None if they may be.

    A layer contains attention (or another mixer of tokens) and a feed-forward network. Outside of the layers and the
    embeddings, there are only norms, whose parameters are vectors.
    """
    layers = encoder.get_submodule(guess.layers[0])
    assert isinstance(layers, nn.ModuleList)
    if len(layers) != encoder.config.num_hidden_layers:
        return f"'{guess.layers[0]}' has {len(layers)} modules for {encoder.config.num_hidden_layers} layers"
    inside = tuple(f"{name}." for name in (*guess.layers, *guess.embeddings))
    outside = [
        name for name, value in encoder.named_parameters() if not f"{name}.".startswith(inside) and value.ndim > 1
    ]
    if outside:
        return f"'{outside[0]}' is a matrix outside of '{guess.layers[0]}'"
    for index, layer in enumerate(layers):
        if not _mixers(layer):
            return f"'{guess.layers[0]}.{index}' has no attention"
        in_mixers = tuple(f"{name}." for name in _mixers(layer))
        if not any(value.ndim > 1 and not f"{name}.".startswith(in_mixers) for name, value in layer.named_parameters()):
            return f"'{guess.layers[0]}.{index}' has attention but no feed-forward network"
    return None


_MIXER = re.compile(r"attention|attn|mixer|shortconv|recurrent", re.IGNORECASE)


def _mixers(layer: nn.Module) -> Sequence[str]:
    """Return the names of the modules of a layer that mix the states of different tokens."""
    return [name for name, module in layer.named_modules() if name and _MIXER.search(type(module).__name__)]
