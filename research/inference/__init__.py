"""Use a trained model: load it, compute logits for texts, predict and evaluate files."""
