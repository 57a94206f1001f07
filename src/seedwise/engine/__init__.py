"""Ask, evaluate, record, fold, decide, tell: by told results only, and without I/O."""
