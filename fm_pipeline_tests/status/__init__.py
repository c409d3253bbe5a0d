"""What can be asked at any time."""
