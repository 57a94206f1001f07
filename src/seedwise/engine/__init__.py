"""Ask, evaluate, record, fold, decide, tell: from told results only, and without I/O."""
