"""A server that answers like FileMaker Data API, so that clients made for the real one work against it."""
