"""The process that carries a run out, from the lease on its folder to its result."""
