"""The target: Nexus' PostgreSQL database: its catalogue, the crosswalk, the one transaction that writes."""
