"""The page for whoever operates the pipeline, the wheel, and upgrades."""
