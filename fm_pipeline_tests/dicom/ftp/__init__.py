"""Pulls from FTP servers, real and scripted."""
