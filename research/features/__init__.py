"""Hidden states of a frozen encoder: computed once, stored, and used by every epoch, head, and seed."""
