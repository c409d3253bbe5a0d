"""The sensor without Dagster: `decision.py` is a pure function, `tick.py` reads what it needs and does what it says."""
