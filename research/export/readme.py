"""README.md of an exported model: how to use it without Midway."""

from __future__ import annotations

from research.inference.saved_model import SavedModel
from research.system.plain_text import for_message

_PREDICTIONS = {
    "single_label_classification": """labels = config["id2label"]
print([labels[str(index)] for index in logits.argmax(axis=1)])""",
    "multi_label_classification": """thresholds = np.array(config["thresholds"] or 0.5)
predicted = logits > np.log(thresholds / (1 - thresholds))
print([[config["id2label"][str(index)] for index in np.flatnonzero(row)] for row in predicted])""",
    "regression": """print(logits[:, 0].tolist())""",
}
"""Code that turns logits into predictions, for each `problem_type` of Transformers."""


def readme(saved: SavedModel, *, libraries: str, imports: str, load: str, logits: str) -> str:
    """Return the content of README.md.

    Args:
        saved: the model.
        libraries: libraries that the code needs.
        imports: statements that import them, except numpy and transformers.
        load: statement that loads the model.
        logits: statements that assign `logits`, computed from `encoded`, the arrays that the tokenizer returns.
    """
    config = saved.model.config
    assert config.problem_type is not None
    texts = '["First text", "Second text"]'
    if saved.inputs.has_pairs:
        texts += ', ["Other first text", "Other second text"]'
    return f"""# {(saved.run or saved.folder).name}

A {config.encoder.model_type} model with the head `{config.head}`, trained and exported with Midway. Task:
{saved.inputs.task}. Maximum length: {config.max_input_length} tokens.

Run this in the model's folder, with {libraries} installed:

```python
import json

import numpy as np
{imports}
from transformers import AutoTokenizer

config = json.load(open("config.json", encoding="utf-8"))
tokenizer = AutoTokenizer.from_pretrained(".")
{load}
encoded = tokenizer({texts}, padding=True, truncation=True, return_tensors="np")
{logits}
{_PREDICTIONS[config.problem_type]}
```
{_differences(saved)}"""


def _differences(saved: SavedModel) -> str:
    """Return what the code does not do, but Midway does, and how texts become inputs."""
    config = saved.model.config
    notes = []
    if saved.template is not None:
        notes.append(f"The tokenizer puts inputs into the template '{for_message(saved.template)}'. Pass only texts.")
    if saved.inputs.cleaning:
        notes.append(f"Texts were cleaned before training ({', '.join(saved.inputs.cleaning)}). Clean yours as well.")
    if config.truncation == "head_tail":
        notes.append("Of longer texts, the tokenizer keeps the start. In training, Midway kept the start and the end.")
    return "".join(f"\n- {note}" for note in notes) + "\n" * bool(notes)
