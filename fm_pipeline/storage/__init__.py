"""S3: one bucket, read, listed, and written to only by new objects."""
