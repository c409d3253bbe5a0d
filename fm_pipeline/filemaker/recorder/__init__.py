"""A recording of how a FileMaker Server answers, without a value of a record: shapes, types, codes and timings.

A clinic makes one (`fm-pipeline filemaker record`), and `replay` compares the stand-in with it. What does not
belong here: the stand-in.
"""
