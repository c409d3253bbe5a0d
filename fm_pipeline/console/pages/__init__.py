"""The HTML pages: each reads by a function of the pipeline and shows it. A change is a run or a command's function."""
