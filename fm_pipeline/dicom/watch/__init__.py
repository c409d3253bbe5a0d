"""Which files are new: what is remembered of each directory, so that a tick lists only what may have changed."""
