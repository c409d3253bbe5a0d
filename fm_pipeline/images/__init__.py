"""Images: read from FileMaker's export or containers, copied in S3, written as rows of Nexus (docs/images.md).

Two ways lead in: `linking` (the bulk dump in S3 and an export) and `containers` (FileMaker itself). Both use `pictures`
and `nexus`.
"""
