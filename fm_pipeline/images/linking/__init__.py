"""Link the files of the bulk dump to their patients. `link_images.py` runs all of it.

`matching.py` plans which file becomes which image. `look.py` reads and decodes a file, and `copier.py` copies it inside
S3 and verifies the copy. `steps.py` has the two steps that Dagster and the command share: copy, then write rows to
Nexus.
"""
