"""Connection errors that need a changed setting: untrusted certificates, and http where https is expected."""

from __future__ import annotations

import socket
import ssl

from fm_pipeline.certificates import certificate_refusal
from fm_pipeline.dicom.orthanc.errors import TlsFault

_LONGEST_LOOK = 2.0
_FEW_BYTES = 64
# OpenSSL's reasons where the other side does not speak TLS.
_NO_TLS = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"}
_WRITE_HTTP = (
    "Write http:// in ORTHANC_URL if Orthanc is on this machine; else let Orthanc, or a proxy in front of it,"
    " speak TLS."
)
_WRITE_HTTPS = (
    "Write https:// in ORTHANC_URL, and set ORTHANC_CA_BUNDLE if the certificate is of an authority of your own."
)


def connection_fault(error: Exception) -> TlsFault | None:
    """Translate a TLS error; None if waiting may help."""
    if refusal := certificate_refusal(error, address="ORTHANC_URL", authority="ORTHANC_CA_BUNDLE"):
        return TlsFault(f"The certificate of the server at ORTHANC_URL {refusal.why}.", refusal.remedy)
    if not isinstance(error, ssl.SSLError) or isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return None
    reason = error.reason or ""
    if reason in _NO_TLS:
        return TlsFault("What answers at ORTHANC_URL does not speak TLS.", _WRITE_HTTP)
    if "CERTIFICATE_REQUIRED" in reason:
        return TlsFault(
            "The server at ORTHANC_URL asks for a certificate of the client.",
            "The pipeline has none to show: let it in by ORTHANC_USERNAME and ORTHANC_PASSWORD, or by a local proxy.",
        )
    return TlsFault(
        f"The server at ORTHANC_URL and this machine do not agree on TLS ({reason.lower() or type(error).__name__}).",
        "Let the server speak TLS 1.2 or 1.3.",
    )


def other_scheme(host: str, port: int | None, with_tls: bool, seconds: float) -> TlsFault | None:
    """Return an error if the server speaks TLS where ORTHANC_URL says http, or plain HTTP where it says https.

    It sends only the beginning of a handshake, or a request without credentials.
    """
    limit = min(seconds, _LONGEST_LOOK)
    if with_tls:
        if _speaks_http(host, port or 443, limit):
            return TlsFault("The server at ORTHANC_URL speaks HTTP without TLS, not https.", _WRITE_HTTP)
    elif _speaks_tls(host, port or 80, limit):
        return speaks_https()
    return None


def speaks_https() -> TlsFault:
    """Return the error for a server of https that was contacted over plain HTTP."""
    return TlsFault("The server at ORTHANC_URL speaks https, not http.", _WRITE_HTTPS)


def _speaks_tls(host: str, port: int, seconds: float) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # only whether it speaks TLS matters here
    try:
        with socket.create_connection((host, port), seconds) as plain, context.wrap_socket(plain, server_hostname=host):
            return True
    except (OSError, ValueError):
        return False


def _speaks_http(host: str, port: int, seconds: float) -> bool:
    try:
        with socket.create_connection((host, port), seconds) as plain:
            plain.sendall(b"GET /system HTTP/1.0\r\n\r\n")
            return plain.recv(_FEW_BYTES).startswith(b"HTTP/")
    except (OSError, ValueError):
        return False
