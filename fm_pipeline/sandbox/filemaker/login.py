"""Opening, keeping and closing a session.

Source: Claris FileMaker Data API Guide, "Log in to a database session", "Log out", "Error responses".
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from starlette.responses import Response

from fm_pipeline.sandbox.filemaker.answers import Refusal, answer
from fm_pipeline.sandbox.filemaker.call import Call, check_names


def login(call: Call) -> Response:
    """POST …/sessions: the token in a header and in the body. Raises Refusal 9, 10, 212, 214, 802, 812, 956."""
    engine = call.engine
    if call.raw_body.strip() or engine.behaviour.login_needs_body:
        check_names(list(call.body()), ("fmDataSource",))
    scheme, _, credentials = call.headers.get("authorization", "").partition(" ")
    if not scheme:
        raise Refusal(10)
    try:
        name, colon, password = base64.b64decode(credentials, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        colon = ""
    if scheme.lower() != "basic" or not colon:
        raise Refusal(212, "Authorization header 'Basic' invalid.")
    if call.database not in engine.store.databases():
        raise Refusal(802)
    engine.sessions.check_lockout(call.database, name)
    account = engine.store.account(call.database, name, password)
    if account is None:
        engine.sessions.wrong_password(call.database, name)
        raise Refusal(212)
    if "fmrest" not in account.privileges:
        raise Refusal(engine.behaviour.no_fmrest_code)
    token = engine.sessions.open(call.database, account).token
    return answer({"token": token}, headers={"X-FM-Data-Access-Token": token})


def logout(call: Call) -> dict[str, Any]:
    """DELETE …/sessions/{token}, without any header. Raises Refusal 952."""
    call.engine.sessions.close(call.path["token"], call.database)
    return {}


def validate_session(call: Call) -> dict[str, Any]:
    """GET /validateSession. Raises Refusal 1700 where the version has none."""
    if call.engine.behaviour.version < 19:
        raise Refusal(1700)
    return {"isSessionInUse": True}
