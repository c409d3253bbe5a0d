"""FTP servers for tests: pyftpdlib, a scripted one, and those of Debian."""
