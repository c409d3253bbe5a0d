"""Find new files. The state of each directory is saved, so that a tick lists only those that may have changed."""
