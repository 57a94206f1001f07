"""What runs on a Dask worker; importable there without Optuna, dask-jobqueue and plotting."""
