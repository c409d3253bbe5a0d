"""Tables of the console in the schema fm_console."""
