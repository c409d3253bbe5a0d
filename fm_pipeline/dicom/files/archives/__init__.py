"""Files in archives: found, looked at and imported one by one, as if they lay in a folder."""
