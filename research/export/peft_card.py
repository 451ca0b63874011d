"""The part of the model card that shows how to load adapters with PEFT."""

from __future__ import annotations

from collections.abc import Iterator

from research.export.card_metadata import CardFacts
from research.export.model_card import PLACEHOLDER, describe_inputs_and_outputs
from research.export.plain_encoder import PlainEncoder
from research.model.encoder_classes import auto_class, is_part_of_model


def describe_use(facts: CardFacts, encoder: PlainEncoder) -> Iterator[str]:
    """Yield the paragraphs that show how to load the folder."""
    yield "## Use"
    packages = ", ".join(f"`{name}`" for name in ["peft", "transformers", "torch", *facts.requirements])
    hashes = ", ".join(f"`{name}` `{sha256}`" for name, sha256 in encoder.sha256_by_file.items())
    yield (
        "This folder contains adapters and the head, without the weights of the encoder. It needs the "
        f"encoder `{encoder.name}` as it was before training (SHA-256: {hashes}), and the packages {packages}. With "
        "`trust_remote_code=True`, Transformers runs the model's code, which is in the folder; read it first."
    )
    yield f"```python\n{example(facts, encoder)}\n```"
    if facts.saved.inputs.cleaning:
        yield "`clean` applies the cleaning steps of the training."
    yield from describe_inputs_and_outputs(facts)


def example(facts: CardFacts, encoder: PlainEncoder) -> str:
    """Return Python code that loads the folder and computes the scores of a text."""
    inputs = facts.saved.inputs
    texts = ["the first text", "the second text"] if inputs.has_pairs else ["a text"]
    rows = ", ".join(f'[base.clean("{text}")]' if inputs.cleaning else f'["{text}"]' for text in texts)
    scores = {
        "single_label_classification": "logits.softmax(dim=-1)",
        "multi_label_classification": "logits.sigmoid()",
        "regression": "logits",
    }[str(facts.model.config.problem_type)]
    encoder_config = facts.saved.model.encoder.config
    loader = auto_class(encoder_config).__name__
    part = ".get_encoder()" if is_part_of_model(encoder_config) else ""
    classes = {"AutoConfig", "AutoModelForSequenceClassification", "AutoTokenizer", loader}
    return "\n".join(
        [
            "import torch",
            "from peft import PeftModel",
            f"from transformers import {', '.join(sorted(classes))}\n",
            f'folder, encoder = "{PLACEHOLDER}", "{encoder.name}"',
            "config = AutoConfig.from_pretrained(folder, trust_remote_code=True)",
            "base = AutoModelForSequenceClassification.from_config(config, trust_remote_code=True)",
            f"base.encoder = {loader}.from_pretrained(encoder, config=base.encoder.config, dtype=torch.float32){part}",
            "model = PeftModel.from_pretrained(base, folder).eval()",
            "tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)",
            f'inputs = tokenizer({rows}, padding=True, return_tensors="pt")',
            "with torch.no_grad():",
            "    logits = model(**inputs).logits",
            f"print(config.id2label, {scores})",
        ]
    )
