"""Chunks out to Dask workers and results back; what is lost goes out again."""
