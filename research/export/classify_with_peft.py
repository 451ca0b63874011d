"""Compute logits with PEFT and the plain encoder. This runs in a process of its own, which cannot import Midway.

Arguments: folder of the packages, exported folder, and a JSON file, which is read and then replaced by the logits.
"""

import json
import sys
from pathlib import Path


def main() -> None:
    """Read the request, and write the logits of all texts in one batch."""
    packages, folder, file = sys.argv[1:]
    sys.path.append(packages)
    import torch
    import transformers
    from peft import PeftModel
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    request = json.loads(Path(file).read_text(encoding="utf-8"))
    torch.set_num_threads(request["num_threads"])
    config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
    base = AutoModelForSequenceClassification.from_config(config, trust_remote_code=True)
    auto_class = getattr(transformers, request["auto_class"])
    loaded = auto_class.from_pretrained(request["encoder"], config=base.encoder.config, dtype=torch.float32)
    base.encoder = loaded.get_encoder() if request["is_part_of_model"] else loaded
    model = PeftModel.from_pretrained(base, folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    inputs = tokenizer(*map(list, zip(*request["texts"], strict=True)), padding=True, return_tensors="pt")
    with torch.inference_mode():
        logits = model(**inputs).logits
    Path(file).write_text(json.dumps(logits.tolist()), encoding="utf-8")


if __name__ == "__main__":
    main()
