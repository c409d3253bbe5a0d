"""The accounts of Nexus, read only."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.hashers import check_password
from django.db import models

from fm_pipeline.console.django_settings import PIPELINE


class NexusUser(AbstractBaseUser):
    """A row of Nexus' `auth_user`. A login changes no byte of it: no `last_login`, no stronger hash."""

    last_login = None  # Django connects its receiver, which writes the time, only to a model that has the field
    username: models.CharField[str, str] = models.CharField(max_length=150, unique=True)
    first_name: models.CharField[str, str] = models.CharField(max_length=150)
    last_name: models.CharField[str, str] = models.CharField(max_length=150)
    email: models.EmailField[str, str] = models.EmailField()
    is_staff: models.BooleanField[bool, bool] = models.BooleanField()
    is_active: models.BooleanField[bool, bool] = models.BooleanField()

    objects: ClassVar[BaseUserManager[NexusUser]] = BaseUserManager()
    USERNAME_FIELD = "username"

    class Meta:
        managed = False
        db_table = f'{PIPELINE.nexus_schema}"."auth_user'  # Django quotes the whole name; this makes two of it

    def check_password(self, raw_password: str | None) -> bool:
        """Compare without the base class's setter, which would save a stronger hash."""
        return raw_password is not None and check_password(raw_password, self.password)

    def save(self, *_: Any, **__: Any) -> None:
        """Refuse."""
        raise TypeError("Accounts are managed in Nexus, and only read here.")

    def delete(self, *_: Any, **__: Any) -> tuple[int, dict[str, int]]:
        """Refuse."""
        raise TypeError("Accounts are managed in Nexus, and only read here.")
