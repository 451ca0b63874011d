"""Export every head on six families of encoders to ONNX, and compare the logits and the speed with PyTorch's.

    python experiments/benchmarks/onnx_table.py

The models have random weights and the size of MiniLM: 6 layers, hidden size 384. `difference` is the largest difference
between the logits of ONNX Runtime and PyTorch for batches of several sizes; the export fails if it is above 1e-4. The
other columns are milliseconds per row, for batches of 1 and of 32 rows without padding: the median over rounds, in
which PyTorch and ONNX Runtime alternate. Both use the same number of threads.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from torch import Tensor
from transformers import AutoConfig, PreTrainedTokenizerBase

from heads import HEADS
from research.export.onnx import MODEL, write_onnx
from research.inference.saved_model import SavedModel
from research.model.encoder_with_head import EncoderWithHead, EncoderWithHeadConfig
from research.model.encoders import load_tokenizer
from research.model.input_settings import InputSettings
from research.system.messages import messages_muted
from research.tasks.base import TASKS

SIZE = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
FAMILIES: dict[str, dict[str, Any]] = {
    "bert": SIZE,
    "distilbert": {"dim": 384, "n_layers": 6, "n_heads": 12, "hidden_dim": 1536},
    "roberta": SIZE,
    "modernbert": SIZE,
    "deberta-v2": {
        **SIZE,
        "relative_attention": True,
        "position_buckets": 256,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_biased_input": False,
        "type_vocab_size": 0,
    },
    "qwen2": {**SIZE, "num_key_value_heads": 2},
}
"""Config of the encoder of each family. DeBERTa's is that of DeBERTa-v3."""
BATCH_SIZES = (1, 32)


def build_model(family: str, head: str, tokenizer: PreTrainedTokenizerBase, length: int) -> SavedModel:
    """Return a model with random weights, for rows of up to `length` tokens."""
    labels = ("negative", "positive")
    torch.manual_seed(0)
    config = EncoderWithHeadConfig(
        encoder=AutoConfig.for_model(
            family, **FAMILIES[family], vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id
        ),
        head=head,
        max_input_length=length,
        problem_type="single_label_classification",
        id2label=dict(enumerate(labels)),
        label2id={name: index for index, name in enumerate(labels)},
    )
    model = EncoderWithHead(config).eval()
    task = TASKS["single_label"](label_names=labels)
    return SavedModel(Path(f"{head}-{family}"), None, model, tokenizer, task, InputSettings("single_label"))


def seconds_per_call(functions: list[Callable[[], object]], num_rounds: int) -> list[float]:
    """Return the median duration of each function over rounds that call each function once, after one more round."""
    durations: list[list[float]] = [[] for _ in functions]
    for _ in range(num_rounds + 1):
        for function, each in zip(functions, durations, strict=True):
            started = time.perf_counter()
            function()
            each.append(time.perf_counter() - started)
    return [statistics.median(each[1:]) for each in durations]


def milliseconds_per_row(saved: SavedModel, path: Path, inputs: dict[str, Tensor], arguments: Any) -> list[float]:
    """Return the milliseconds per row of PyTorch and ONNX Runtime on a batch."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    arrays = {each.name: inputs[each.name].numpy() for each in session.get_inputs()}
    with torch.inference_mode():
        seconds = seconds_per_call(
            [lambda: saved.model(**inputs), lambda: session.run(None, arrays)], num_rounds=arguments.rounds
        )
    return [1000 * each / len(inputs["input_ids"]) for each in seconds]


def full_batch(saved: SavedModel, num_rows: int, length: int) -> dict[str, Tensor]:
    """Return rows of random tokens without padding."""
    token_ids = torch.randint(len(saved.tokenizer), (num_rows, length), generator=torch.Generator().manual_seed(0))
    ones = torch.ones_like(token_ids)
    return {"input_ids": token_ids, "attention_mask": ones, "token_type_ids": torch.zeros_like(token_ids)}


def main() -> None:
    """Parse the command line and print one line per model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", nargs="+", default=sorted(HEADS), help="heads to export (default: all)")
    parser.add_argument("--families", nargs="+", default=list(FAMILIES), choices=FAMILIES, help="default: all")
    parser.add_argument("--length", type=int, default=32, help="tokens per row (default: 32)")
    parser.add_argument("--rounds", type=int, default=3, help="timed rounds per batch size (default: 3)")
    parser.add_argument("--threads", type=int, default=2, help="threads of PyTorch and ONNX Runtime (default: 2)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    tokenizer = load_tokenizer("minilm")
    columns = [f"{library} {size}" for size in BATCH_SIZES for library in ("torch", "onnx")]
    print(f"| head | family | difference | {' | '.join(columns)} |\n|{'---|' * (3 + len(columns))}")
    for head in arguments.heads:
        for family in arguments.families:
            saved = build_model(family, head, tokenizer, arguments.length)
            with tempfile.TemporaryDirectory() as folder, messages_muted():
                difference = write_onnx(saved, Path(folder)).largest_difference
                path = Path(folder) / MODEL
                times = [
                    each
                    for size in BATCH_SIZES
                    for each in milliseconds_per_row(saved, path, full_batch(saved, size, arguments.length), arguments)
                ]
            figures = " | ".join(f"{each:.2f}" for each in times)
            print(f"| {head} | {family} | {difference:.1e} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
