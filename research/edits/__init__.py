"""Changes of the model, or of how it is trained, between two steps."""
