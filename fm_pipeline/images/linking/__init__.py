"""Link the files of the bulk dump to their patients. `link_images.py` runs all of it.

`matching.py` plans which file becomes which image. `copier.py` copies and verifies in S3. `steps.py` has the two steps
that Dagster and the command share: copy, then write rows to Nexus.
"""
