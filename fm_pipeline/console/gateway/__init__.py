"""Dagster's web server behind the console's login. Only here does the console import Dagster.

- `guard`: what is asked of every request before Dagster sees it
- `routes`: which of Dagster's routes are served, and to whom
- `permissions`: a viewer's mutations, refused where Dagster executes a field; nothing reads the text of a query
- `context`: a viewer's requests also get Dagster's own read-only permissions, so that its page greys the buttons
- `app`: Dagster's application, with answers that tell no stack
"""
