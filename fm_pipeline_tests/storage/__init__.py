"""The bucket, against a real S3 server."""
