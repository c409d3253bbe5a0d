"""Which files lie below a directory, in archives too: names, sizes and times, and which of them are left out."""
