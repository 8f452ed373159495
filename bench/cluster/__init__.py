"""Three nodes on one machine, beside three members of etcd."""
