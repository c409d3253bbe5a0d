"""FTP servers for tests: pyftpdlib, scripted ones, and those of Debian."""
