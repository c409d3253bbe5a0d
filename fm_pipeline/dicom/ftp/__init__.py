"""Files of an FTP server, pulled into a folder of the watched directory. Nothing is written to the server.

`configured_pull.py` is one pull as it is configured; `pull.py` does the work.
"""
