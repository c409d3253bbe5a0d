"""Programs that no Python package has: found, or fetched from Debian into a folder of ours."""
