"""Opens, validates and closes sessions.

Source: Claris FileMaker Data API Guide, "Log in to a database session", "Log out", "Error responses".
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from starlette.responses import Response

from fm_pipeline.sandbox.filemaker.call import ApiCall, check_names
from fm_pipeline.sandbox.filemaker.responses import ApiError, success_response


def login(call: ApiCall) -> Response:
    """POST …/sessions: the token in a header and in the body. Raises ApiError 9, 10, 212, 214, 802, 812, 956."""
    engine = call.engine
    if call.raw_body.strip() or engine.behaviour.login_needs_body:
        check_names(list(call.body()), ("fmDataSource",))
    scheme, _, credentials = call.headers.get("authorization", "").partition(" ")
    if not scheme:
        raise ApiError(10)
    try:
        name, colon, password = base64.b64decode(credentials, validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        colon = ""
    if scheme.lower() != "basic" or not colon:
        raise ApiError(212, "Authorization header 'Basic' invalid.")
    if call.database not in engine.store.databases():
        raise ApiError(802)
    engine.sessions.check_lockout(call.database, name)
    account = engine.store.account(call.database, name, password)
    if account is None:
        engine.sessions.wrong_password(call.database, name)
        raise ApiError(212)
    if "fmrest" not in account.privileges:
        raise ApiError(engine.behaviour.no_fmrest_code)
    token = engine.sessions.open(call.database, account).token
    return success_response({"token": token}, headers={"X-FM-Data-Access-Token": token})


def logout(call: ApiCall) -> dict[str, Any]:
    """DELETE …/sessions/{token}, without any header. Raises ApiError 952."""
    call.engine.sessions.close(call.path["token"], call.database)
    return {}


def validate_session(call: ApiCall) -> dict[str, Any]:
    """GET /validateSession. Raises ApiError 1700 where the version has none."""
    if call.engine.behaviour.version < 19:
        raise ApiError(1700)
    return {"isSessionInUse": True}
