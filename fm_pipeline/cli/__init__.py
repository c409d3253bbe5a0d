"""The command line. `main.py` holds the group; every other module here is one command of that name."""
