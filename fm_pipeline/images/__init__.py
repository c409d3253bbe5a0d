"""Images: what they are, where they lie in S3, and how they become rows of Nexus."""
