"""Images out of FileMaker's containers, the best of several sizes first, into S3 and Nexus."""
