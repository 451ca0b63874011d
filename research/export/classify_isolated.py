"""Classify texts with an exported model. This runs in a process of its own, which cannot import Midway.

Arguments: folder of the packages, folder of the model, and a JSON file, which is read and then replaced by the result.
"""

import json
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Read the request, and write the logits of all texts for each batch size."""
    packages, folder, file = sys.argv[1:]
    sys.path.append(packages)
    import torch
    from transformers import pipeline

    request = json.loads(Path(file).read_text(encoding="utf-8"))
    torch.set_num_threads(request["num_threads"])
    classify = pipeline("text-classification", folder, trust_remote_code=request["trust_remote_code"], device="cpu")
    options = {"top_k": None, "function_to_apply": "none", **request["options"]}
    id2label: Any = classify.model.config.id2label
    label_ids = {name: index for index, name in id2label.items()}

    def logits(batch_size: int) -> list[list[float]]:
        results: Any = classify(request["texts"], batch_size=batch_size, **options)
        by_index = [{label_ids[each["label"]]: each["score"] for each in result} for result in results]
        return [[scores[index] for index in range(len(scores))] for scores in by_index]

    clean = getattr(classify.model, "clean", None)
    result = {
        "logits": [logits(batch_size) for batch_size in request["batch_sizes"]],
        "cleaned": [clean(text) for text in request["unclean_texts"]] if clean else None,
    }
    Path(file).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
