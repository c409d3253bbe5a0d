"""The reference Nexus database: the application's tables, made without the application."""
