"""Columns that only the console's role reads: the password hashes of Nexus' accounts.

A backup holds the accounts to which its rows refer, without these columns. So the roles for reimports and restores need
no privilege on them, and a backup that gets into the wrong hands has no password to guess.
"""

from __future__ import annotations

from collections.abc import Mapping

from fm_pipeline.db.table import Table

# By table and column, the value for an account that a restore has to add. Django takes this one for an account without
# a password: nobody can log in to it.
# https://docs.djangoproject.com/en/5.2/ref/contrib/auth/#django.contrib.auth.models.User.set_unusable_password
_UNREAD = {"auth_user": {"password": "!"}}


def unread_columns(table: Table) -> Mapping[str, str]:
    """Return these columns of a table, each with the value for a row that a restore adds."""
    return _UNREAD.get(table.name, {})
