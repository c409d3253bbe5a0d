"""A stand-in for FileMaker Server: it answers like the FileMaker Data API, so that clients of the real one work."""
