"""Download files from an FTP server into a folder of the watched directory. Nothing is written to the server.

`configured_pull.py` starts a pull with the configuration; `pull.py` does the work.
"""
