"""Asset checks that stand beside the graph; those of the transaction are reported by the transaction's asset."""
