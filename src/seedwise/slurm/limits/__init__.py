"""What Slurm allows this user: partitions, nodes, accounts and QoS."""
