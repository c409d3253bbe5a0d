"""The clinic in Nexus: its rows before a reimport, and the expected rows after it (`oracle.py`)."""
