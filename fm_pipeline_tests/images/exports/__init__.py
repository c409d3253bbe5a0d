"""FileMaker's export in all its forms."""
