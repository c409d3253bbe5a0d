"""The source: Data API client, complete reading of a layout, extraction into the staging schema."""
