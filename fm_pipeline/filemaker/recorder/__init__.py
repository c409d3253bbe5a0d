"""A recording of how a FileMaker Server answers, without a value of a record: shapes, types, codes and timings.

A clinic makes one (`fm-pipeline filemaker record`), and the stand-in is held against it (`replay`). What does not
belong here: the stand-in.
"""
