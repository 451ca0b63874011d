"""A pretrained encoder with a head, and the names of its parts."""
