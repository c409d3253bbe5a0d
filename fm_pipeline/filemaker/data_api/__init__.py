"""The Data API: a client with one session, the reading of a layout that is proved complete, files of containers."""
