"""The servers of the sandbox: PostgreSQL, S3, the FileMaker stand-in and a mail catcher, from Python wheels.

`stack.py` brings them up and down together; each service has a file of its own; `processes.py` starts,
recognises and ends a process. What the servers hold (patients, pictures) does not belong here.
"""
