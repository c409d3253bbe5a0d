"""Images and batches as rows of Nexus: which exist, whose they are, and the transaction that writes them."""
