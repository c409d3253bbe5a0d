"""The clinic as Nexus holds it: before a reimport, and exactly what it must hold after it (`oracle.py`)."""
