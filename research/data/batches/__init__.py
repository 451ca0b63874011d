"""From prepared splits to batches: tokens, order, and padding."""
