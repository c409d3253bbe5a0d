"""The accounts of Nexus, read only; and the console's own tables of logins and API tokens."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.hashers import check_password
from django.db import models
from django.utils import timezone

from fm_pipeline.console.django_settings import PIPELINE

_log = logging.getLogger(__name__)


class NexusUser(AbstractBaseUser):
    """A row of Nexus' `auth_user`. A login changes no byte of it: no `last_login`, no stronger hash."""

    last_login = None  # Django connects its receiver, which writes the time, only to a model that has the field
    username: models.CharField[str, str] = models.CharField(max_length=150, unique=True)
    is_staff: models.BooleanField[bool, bool] = models.BooleanField()
    is_active: models.BooleanField[bool, bool] = models.BooleanField()

    objects: ClassVar[BaseUserManager[NexusUser]] = BaseUserManager()
    USERNAME_FIELD = "username"

    class Meta:
        managed = False
        db_table = f'{PIPELINE.nexus_schema}"."auth_user'  # Django quotes the whole name; this makes two of it

    def check_password(self, raw_password: str | None) -> bool:
        """Compare without the base class's setter, which would save a stronger hash.

        A hash that cannot be read, or a password that its algorithm does not take (bcrypt: 72 bytes), is a wrong one.
        """
        try:
            return raw_password is not None and check_password(raw_password, self.password)
        except (ValueError, AssertionError):
            _log.warning("The password of the account %s cannot be compared: set it anew in Nexus.", self.pk)
            return False

    def save(self, *_: Any, **__: Any) -> None:
        """Refuse."""
        raise TypeError("Accounts are managed in Nexus, and only read here.")

    def delete(self, *_: Any, **__: Any) -> tuple[int, dict[str, int]]:
        """Refuse."""
        raise TypeError("Accounts are managed in Nexus, and only read here.")


class Login(models.Model):
    """A session that somebody has begun by a login, as long as it lasts, so that its owner can see and end it."""

    session_key: models.CharField[str, str] = models.CharField(max_length=40, unique=True)
    account_id: models.IntegerField[int, int] = models.IntegerField(db_index=True)
    address: models.TextField[str, str] = models.TextField()
    browser: models.TextField[str, str] = models.TextField()
    at: models.DateTimeField[datetime, datetime] = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "login"


class ApiToken(models.Model):
    """A token of a machine. Its secret is not stored, only a digest of it."""

    NAME_LENGTH = 60

    name: models.CharField[str, str] = models.CharField(max_length=NAME_LENGTH)
    digest: models.CharField[str, str] = models.CharField(max_length=64, unique=True)
    scope: models.CharField[str, str] = models.CharField(max_length=10)
    owner_id: models.IntegerField[int, int] = models.IntegerField()
    owner_name: models.CharField[str, str] = models.CharField(max_length=150)
    created_at: models.DateTimeField[datetime, datetime] = models.DateTimeField(auto_now_add=True)
    expires_at: models.DateTimeField[datetime, datetime] = models.DateTimeField()
    last_used_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(null=True)
    revoked_at: models.DateTimeField[datetime | None, datetime | None] = models.DateTimeField(null=True)

    class Meta:
        db_table = "api_token"

    @property
    def is_in_force(self) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked_at is None and self.expires_at > timezone.now()
