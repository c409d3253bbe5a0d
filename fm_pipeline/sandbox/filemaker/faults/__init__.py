"""What goes wrong on demand, and how it looks on the wire."""
