"""List the files below a directory and in archives: names, sizes and times, without excluded ones."""
