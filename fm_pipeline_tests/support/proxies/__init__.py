"""Proxies between the pipeline and a real server, which fail as a test wants."""
