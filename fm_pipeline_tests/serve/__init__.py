"""Tests of the supervisor, and of the service as a whole when its parts are killed."""
