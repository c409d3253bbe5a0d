"""The stand-in's data: files, tables, layouts and values; how they are stored, found and shown."""
