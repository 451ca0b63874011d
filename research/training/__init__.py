"""The training loop, the hooks that it calls, and the boundary between two steps at which edits are applied."""
