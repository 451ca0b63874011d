"""Make batches of prepared splits: tokenize, order, truncate and pad rows."""
