"""Where the work runs: LocalCluster, SLURMCluster, or what the caller passes.

Knows no loss, no study, no statistics. Imports `model` and `errors`.
"""
