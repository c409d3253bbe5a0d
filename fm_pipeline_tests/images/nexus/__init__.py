"""Images as rows of Nexus."""
