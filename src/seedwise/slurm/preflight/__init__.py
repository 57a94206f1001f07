"""The check, before the first job, whether Slurm would refuse it or never start it."""
