"""The commands of `fm-pipeline images`, one module each."""
