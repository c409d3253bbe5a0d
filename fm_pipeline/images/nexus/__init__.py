"""Images and batches as rows of Nexus: which are there, whose they are, and the one transaction that writes them."""
