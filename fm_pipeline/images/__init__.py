"""Images: from FileMaker's export or containers to files in S3 and rows of Nexus (docs/images.md).

`linking` links the bulk dump in S3 by an export; `containers` imports from FileMaker itself. Both use `pictures` and
`nexus`.
"""
