"""The clinic as FileMaker holds it: layouts, values as FileMaker writes them, and containers."""
