"""Where the work runs: LocalCluster, SLURMCluster, or what the caller passes."""
