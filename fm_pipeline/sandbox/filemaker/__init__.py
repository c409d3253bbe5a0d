"""A stand-in for FileMaker Server: it answers like its Data API and its OData API, so that their clients work."""
