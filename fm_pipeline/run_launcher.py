"""The run launcher under the name that copies of dagster.yaml know it by. It is made in `defs/run_launcher.py`."""

from fm_pipeline.defs.run_launcher import WatchfulRunLauncher

__all__ = ["WatchfulRunLauncher"]
