"""PostgreSQL without Nexus."""
