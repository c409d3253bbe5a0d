"""The tables of the import: its jobs, what became of each file, and counts of both."""
