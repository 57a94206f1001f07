"""The run's folder: the name, format, reader and writer of each file, and who may write."""
