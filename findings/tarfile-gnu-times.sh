#!/bin/sh
# Python's tarfile gives files of a GNU tar incremental archive names that they do not have.
#
# `tar --listed-incremental` (as many backups are made) writes atime and ctime into its headers, where POSIX has the
# beginning of long names. The magic `ustar  ` says which of the two it is; tarfile does not look at it, and prepends the
# time to the name. GNU tar itself lists the names as they are. Known to CPython as issue 155629, open in 2026.
#
# Needs GNU tar and the python3 that is to be tried (PYTHON). Exit code 0: as described; 1: it behaves otherwise now.
set -eu
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/source"
echo content >"$folder/source/IM1"
tar --format=gnu --listed-incremental="$folder/snapshot" -cf "$folder/archive.tar" -C "$folder" source

tar --version | head -n 1
"$python" --version
listed=$(tar -tf "$folder/archive.tar" | grep IM1)
read=$("$python" -c 'import sys, tarfile; print(*[i.name for i in tarfile.open(sys.argv[1]) if i.isreg()])' "$folder/archive.tar")
echo "GNU tar lists: $listed"
echo "tarfile reads: $read"
[ "$listed" = source/IM1 ] && [ "$read" != source/IM1 ] && [ "${read%/source/IM1}" != "$read" ]
