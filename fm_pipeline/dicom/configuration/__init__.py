"""The configuration that an administrator changes at run time, and the check of allowed paths."""
