"""Tests of the OData API of the stand-in."""
