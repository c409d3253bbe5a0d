"""The command line: one module per command.

A new command is a module `some_name.py` with a click command called `command`, and a section in docs/commands.md.
At its top a module imports click and what options need; its functions import the rest, so that help is shown at once.
What does not belong here: work. A command reads its options, calls domain code and prints what came of it.
"""
