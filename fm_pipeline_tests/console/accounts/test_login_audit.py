from __future__ import annotations

from fm_pipeline.console.address import trusted_networks, visitor_address
from fm_pipeline_tests.console.conftest import Console

LAST = "SELECT coalesce(max(id), 0) FROM fm_pipeline.audit"
SINCE = "SELECT actor, action, outcome FROM fm_pipeline.audit WHERE address = %s ORDER BY id"


def test_a_login_its_end_and_a_wrong_password_are_on_record_with_the_address(console: Console) -> None:
    session = console.session()
    session.headers["X-Forwarded-For"] = "203.0.113.1"
    console.log_in(session, "manager", "not this one")
    console.log_in(session, "my-password-typed-into-the-field-of-the-name")
    console.log_in(session, "manager")
    session.post(f"{console.url}/logout/", data=console.token(session), timeout=30)
    assert console.bench.execute(SINCE, "203.0.113.1") == [
        ("manager", "login", "refused"),
        ("nobody", "login", "refused"),
        ("manager", "login", "done"),
        ("manager", "logout", "done"),
    ]
    details = console.bench.execute("SELECT string_agg(detail, ' ') FROM fm_pipeline.audit")
    assert "my-password" not in details[0][0]


def test_guesses_lock_a_name_out_from_one_address_only_and_are_recorded_once(console: Console) -> None:
    guesser, admin = console.session(), console.session()
    guesser.headers["X-Forwarded-For"], admin.headers["X-Forwarded-For"] = "203.0.113.2", "203.0.113.3"
    statuses = [console.log_in(guesser, "manager", f"guess {n}").status_code for n in range(7)]
    assert statuses == [200, 200, 200, 200, 429, 429, 429]
    locked = console.log_in(guesser, "manager")  # even with the right password
    assert (locked.status_code, 0 < int(locked.headers["Retry-After"]) <= 901) == (429, True)
    assert "Try again after" in locked.text
    assert console.log_in(admin, "manager").status_code == 302
    refused = [("manager", "login", "refused")] * 5
    assert console.bench.execute(SINCE, "203.0.113.2") == [*refused, ("manager", "lockout", "refused")]


def test_a_forwarded_address_counts_only_from_a_trusted_proxy_and_only_its_last_hop() -> None:
    proxies = trusted_networks("127.0.0.1, 10.0.0.0/24, ::1")
    assert visitor_address("198.51.100.7", "203.0.113.9", proxies) == "198.51.100.7"
    assert visitor_address("127.0.0.1", "203.0.113.9", proxies) == "203.0.113.9"
    assert visitor_address("127.0.0.1", "1.2.3.4, 203.0.113.9, 10.0.0.7", proxies) == "203.0.113.9"
    assert visitor_address("::1", "", proxies) == "::1"
    assert visitor_address("127.0.0.1", "'; DROP TABLE", proxies) == "127.0.0.1"
    assert visitor_address("::ffff:203.0.113.9", "", proxies) == "203.0.113.9"
    assert visitor_address(None, "", proxies) == "unknown"
    assert visitor_address("127.0.0.1", "203.0.113.9", trusted_networks(None)) == "127.0.0.1"
