from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth import hashers

from fm_pipeline_tests.console.conftest import Console

PASSWORD = "Grüße, 世界 'x'"
PBKDF2 = hashers.PBKDF2PasswordHasher()
BCRYPT_SALT: Any = b"$2b$06$abcdefghijklmnopqrstuu"  # bytes, where the stubs say text
ACCEPTED = {  # a hash by username; the first ones with fewer rounds than Django's today, which Django would renew
    "h.pbkdf2": PBKDF2.encode(PASSWORD, "salt", 1000),
    "h.pbkdf2_sha1": hashers.PBKDF2SHA1PasswordHasher().encode(PASSWORD, "salt", 1000),
    "h.argon2": hashers.Argon2PasswordHasher().encode(PASSWORD, "salt-of-eight"),
    "h.bcrypt_sha256": hashers.BCryptSHA256PasswordHasher().encode(PASSWORD, BCRYPT_SALT),
    "h.bcrypt": hashers.BCryptPasswordHasher().encode(PASSWORD, BCRYPT_SALT),
    "h.scrypt": hashers.ScryptPasswordHasher().encode(PASSWORD, "salt", 2**10),
    "h.md5": hashers.MD5PasswordHasher().encode(PASSWORD, "salt"),
    # Django lets a wrong password take as long as its own rounds would: one account is enough for that.
    "zoë o'brien+x@clinic.example": hashers.MD5PasswordHasher().encode(PASSWORD, "salt"),
    '医生 \\ " % ; --': hashers.MD5PasswordHasher().encode(PASSWORD, "salt"),
}
REFUSED = {
    "h.unusable": "!never",
    "h.empty": "",
    "h.unknown": "rot13$1$salt$hash",
    "h.cut": "pbkdf2_sha256$1000",
    "h.argon2_cut": "argon2$argon2id$v=19$m=102400",
    "h.scrypt_cut": "scrypt$x$salt$y$z$hash",
}


@pytest.fixture
def accounts(console: Console) -> Iterator[None]:
    """An account for each hash."""
    for username, stored in {**ACCEPTED, **REFUSED}.items():
        console.bench.execute(
            "INSERT INTO auth_user (id, password, is_superuser, username, first_name, last_name, email, is_staff,"
            " is_active, date_joined) SELECT (SELECT max(id) + 1 FROM auth_user), %s, false, %s, '', '', '', true,"
            " true, now()",
            stored,
            username,
        )
    yield
    console.bench.execute("DELETE FROM auth_user WHERE username = ANY(%s)", [*ACCEPTED, *REFUSED])


@pytest.mark.usefixtures("accounts")
def test_every_algorithm_of_django_is_accepted_and_no_login_changes_a_byte_of_nexus(console: Console) -> None:
    before = console.bench.digests()
    for username in ACCEPTED:
        session = console.session()
        session.headers["X-Forwarded-For"] = "203.0.113.10"
        assert console.log_in(session, username, "not " + PASSWORD).status_code == 200, username
        assert console.log_in(session, username, PASSWORD).status_code == 302, username
        assert session.get(f"{console.url}/account/", timeout=30).status_code == 200
        session.post(f"{console.url}/logout/", data=console.token(session), timeout=30)
    for username in REFUSED:
        assert console.log_in(console.session(), username, PASSWORD).status_code == 200, username
    assert console.log_in(console.session(), "h.bcrypt", "long" * 30).status_code == 200
    assert console.bench.digests() == before
