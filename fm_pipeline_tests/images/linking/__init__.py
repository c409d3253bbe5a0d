"""The link of the bulk dump, against a real S3 server."""
