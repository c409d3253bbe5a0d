"""Columns of passwords and other secrets, which a backup leaves out: those of accounts, whatever their table is called.

A backup holds the rows to which patients' rows refer (accounts, clinics), without these columns. So the roles for
reimports and restores need no privilege on the accounts' password hashes, and a backup that gets into the wrong hands
has no password to guess and no key to use.
"""

from __future__ import annotations

import re

from fm_pipeline.db.table import Column, Table
from fm_pipeline.nexus.catalogue.schema import Catalogue, ForeignKey

# How the names of such columns end: Django's `AbstractBaseUser` has `password`; the others are those of packages for
# second factors, API access and single sign-on (django-otp, djangorestframework, django-oauth-toolkit, allauth).
_SECRET = re.compile(
    r"(^|_)(password|passwd|passphrase|password_hash|secret|secret_key|client_secret|token|token_key|token_secret"
    r"|api_?key|private_key|credentials?|(otp|totp|mfa|hotp)_(key|seed))$",
    re.IGNORECASE,
)
# As a text without a further word, what a person has learned: Nexus' `clinicians.credential`.
_QUALIFICATION = re.compile(r"credentials?", re.IGNORECASE)
# By type, besides texts, what a row gets that a restore adds and whose column must be given: encrypted fields, JSON.
_EMPTY = {"bytea": "uuid_send(gen_random_uuid())", "json": "'{}'::json", "jsonb": "'{}'::jsonb"}
# For a text that must be given. Django takes one that begins so, and goes on at random, for the password of an account
# to which nobody can log in; as a token, nobody can guess it.
# https://docs.djangoproject.com/en/5.2/ref/contrib/auth/#django.contrib.auth.models.User.set_unusable_password
_UNUSABLE = "'!' || replace(gen_random_uuid()::text, '-', '')"


def unread_columns(catalogue: Catalogue, table: Table) -> dict[str, str | None]:
    """Return these columns of a table that rows in a backup refer to.

    Returns:
        By name, the value in SQL for a row that a restore adds; None if it gets the column's default.
    """
    keys = {name for key in catalogue.foreign_keys for name in _columns_in(key, table)}  # rows are recognized by these
    return {
        name: _value(column) if column.must_be_given else None
        for name, column in catalogue.columns.get(table, {}).items()
        if name not in keys and _may_hold_a_secret(column)
    }


def _columns_in(key: ForeignKey, table: Table) -> set[str]:
    own = key.columns if key.table == table else ()
    return {*own, *(key.referenced_columns if key.references == table else ())}


def _may_hold_a_secret(column: Column) -> bool:
    if column.generated or not _SECRET.search(column.name):
        return False
    is_text = column.is_text and not column.type.endswith("]")
    return column.type in _EMPTY or (is_text and not _QUALIFICATION.fullmatch(column.name))


def _value(column: Column) -> str:
    if column.type in _EMPTY:
        return _EMPTY[column.type]
    return f"left({_UNUSABLE}, {column.most_characters})" if column.most_characters else _UNUSABLE
