"""What runs inside a local cluster's namespaces: the first process, which starts and watches everything else."""
