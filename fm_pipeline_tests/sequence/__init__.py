"""Plan, reimport and progress as a whole."""
