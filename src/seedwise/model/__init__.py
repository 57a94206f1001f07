"""Values and rules, all pure: the space, the seeds, the loss, its statistics, options, records."""
