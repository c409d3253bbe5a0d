"""Single values of FileMaker: text, dates, keys, names and choices. Pure functions."""
