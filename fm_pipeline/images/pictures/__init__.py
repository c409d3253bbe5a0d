"""A file as a picture: its type by its bytes, whether it is whole, what it says of itself, and its thumbnail."""
