"""The Data API's client against the stand-in."""
