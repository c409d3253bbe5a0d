"""The commands of `fm-pipeline filemaker`."""
