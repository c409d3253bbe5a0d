"""The sensor without Dagster: `decision.py` decides in a pure function, `tick.py` reads its inputs and acts on it."""
