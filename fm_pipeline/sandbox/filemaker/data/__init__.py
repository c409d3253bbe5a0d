"""What the stand-in holds: files, tables, layouts and values, how they are found and how they are shown."""
