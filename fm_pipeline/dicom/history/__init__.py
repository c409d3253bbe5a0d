"""The tables of the import: jobs, the outcome of each file, and counts of both."""
