"""Make predict.py work in chunks of 64 rows, so that short files have many chunks."""

from research.inference import predict

predict.CHUNK_ROWS = 64
