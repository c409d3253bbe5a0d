"""FileMaker over OData."""
