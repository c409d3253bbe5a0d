"""The servers of the sandbox: PostgreSQL, S3, the FileMaker stand-in and a mail catcher, from Python wheels.

`stack.py` starts and stops them together. Each service has a file of its own. `processes.py` starts, identifies and
ends processes. The servers' data (patients, pictures) do not belong here.
"""
