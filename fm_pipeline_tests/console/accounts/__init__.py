"""Tests of logins, sessions, tokens and roles."""
