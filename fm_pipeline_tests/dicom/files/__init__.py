"""Single files and archives."""
