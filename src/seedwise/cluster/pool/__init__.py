"""The pool: how many workers are wanted, what became of each, and what is done about it."""
