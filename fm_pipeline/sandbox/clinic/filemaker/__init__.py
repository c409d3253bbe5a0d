"""The clinic in FileMaker: layouts, raw values, and containers."""
