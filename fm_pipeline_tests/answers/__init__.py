"""Random answers in place of every server that the pipeline talks to."""
