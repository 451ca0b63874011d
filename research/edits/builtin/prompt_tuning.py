"""Add learned embeddings in front of each row."""

from __future__ import annotations

from typing import Literal

from research.edits.base import Editable, EditError, register_edit
from research.edits.builtin.adapters import PEFT, add_adapters, check_has_no_adapters
from research.model.families import longest_input
from research.model.prompt_tuning import PROMPT_TUNING


@PEFT.register("prompt_tuning")
@register_edit("add_prompt_tuning")
def add_prompt_tuning(
    run: Editable,
    *,
    num_virtual_tokens: int = 20,
    prompt_tuning_init: Literal["SAMPLE_VOCAB", "RANDOM"] = "SAMPLE_VOCAB",
    freeze_base: bool = True,
) -> None:
    """Add learned embeddings in front of the tokens of each row. The head does not see them.

    They need a much higher learning rate than other adapters, such as 0.01. They cannot be merged.

    Source: Lester et al. 2021, The Power of Scale for Parameter-Efficient Prompt Tuning; the PEFT library. Differs: the
    head is trained, too.

    Args:
        num_virtual_tokens: number of learned embeddings. The encoder's maximum length must have room for them.
        prompt_tuning_init: initial embeddings: those of random tokens (SAMPLE_VOCAB), or normally distributed numbers
            (RANDOM).
        freeze_base: whether to freeze the encoder's original parameters.
    """
    check_has_no_adapters(run)
    if num_virtual_tokens < 1:
        raise EditError(f"Expected num_virtual_tokens above 0, got {num_virtual_tokens}.")
    model = run.encoder_with_head
    config = model.config.encoder
    if "inputs_embeds" not in model.accepted_inputs:
        raise EditError(
            f"Expected an encoder that accepts embeddings as inputs for prompt tuning; encoders of the family "
            f"'{config.model_type}' do not. Choose other adapters, such as --peft lora."
        )
    longest, used = longest_input(config), max(model.config.max_input_length, run.collator.max_length)
    if longest is not None and used + num_virtual_tokens > longest:
        raise EditError(
            f"Expected a maximum length of at most {longest - num_virtual_tokens} tokens with {num_virtual_tokens} "
            f"virtual tokens, since the encoder supports {longest}; got {used}. Lower --max_length."
        )
    options = {"num_virtual_tokens": num_virtual_tokens, "prompt_tuning_init": prompt_tuning_init}
    add_adapters(run, PROMPT_TUNING, [], freeze_base=freeze_base, **options)
