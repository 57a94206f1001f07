"""What a call returns: views of a run's files."""
