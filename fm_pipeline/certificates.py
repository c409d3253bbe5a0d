"""Why the certificate of a server was refused, and what to do.

A certificate that has expired, and one of an unknown authority, need different people: the one who runs the server, and
the one who writes the settings. OpenSSL may also refuse one whose authority is trusted: from Python 3.13 on it asks for
every extension that RFC 5280 wants, which many an own authority does not write.
"""

from __future__ import annotations

import ssl
from typing import NamedTuple

# X509_V_ERR_… in OpenSSL's x509_vfy.h
_NOT_YET_VALID, _HAS_EXPIRED = 9, 10
_HOSTNAME_MISMATCH, _ADDRESS_MISMATCH = 62, 64
# No issuer is found, or it is not trusted, or an earlier authority of the same name is
_UNKNOWN_AUTHORITY = (2, 7, 18, 19, 20, 21, 27)
_STRICT = range(79, 95)  # what X509_V_FLAG_X509_STRICT adds


class CertificateRefusal(NamedTuple):
    """Why a certificate is refused.

    Attributes:
        why: the end of a sentence that begins with "The certificate of".
        remedy: what to do, as a sentence.
    """

    why: str
    remedy: str


def certificate_refusal(error: BaseException, *, address: str, authority: str) -> CertificateRefusal | None:
    """Return why a certificate was refused; None if the error has another reason.

    Args:
        error: of `ssl`, or of a library that has wrapped it.
        address: the setting that has the server's name.
        authority: the setting or environment variable that names the file of the authority.
    """
    refused = _refusal(error)
    if refused is None:
        return None
    code, said = refused
    if code == _HAS_EXPIRED:
        return CertificateRefusal(
            "has expired, or that of the authority that signed it",
            "Have it renewed on the server, and let the server load it. If it was renewed, check the clock of this"
            " machine.",
        )
    if code == _NOT_YET_VALID:
        return CertificateRefusal("is not valid yet", "Check the clock of this machine, and of the one that made it.")
    if code in (_HOSTNAME_MISMATCH, _ADDRESS_MISMATCH):
        return CertificateRefusal(
            f"is for another name than the one in {address}", f"Write into {address} the name that the certificate has."
        )
    if code in _UNKNOWN_AUTHORITY:
        return CertificateRefusal(
            "is not signed by an authority that is trusted here",
            f"Set {authority} to the PEM file of the authority that signed it.",
        )
    fault, remedy = "is refused", "Have the faulty certificate made again, and let the server load it."
    if code in _STRICT:
        fault = "does not follow RFC 5280"
        remedy = (
            "Have the faulty certificate made again, with the extensions that the RFC asks for (key usage, subject and"
            " authority key identifier, critical basic constraints). Python before 3.13 does not ask for them."
        )
    return CertificateRefusal(f'{fault}, or that of the authority that signed it: OpenSSL says "{said}"', remedy)


def _refusal(error: BaseException) -> tuple[int, str] | None:
    """Return OpenSSL's code and words from an error, or from one that it has as its cause, context or an argument."""
    from urllib3.util.ssl_match_hostname import CertificateError  # noqa: PLC0415  # slow to import

    seen: set[int] = set()
    unread: list[object] = [error]
    while unread:
        each = unread.pop()
        if isinstance(each, ssl.SSLCertVerificationError):
            return each.verify_code, each.verify_message
        if isinstance(each, CertificateError):  # urllib3 compares IP addresses itself
            return _HOSTNAME_MISMATCH, str(each)
        if isinstance(each, BaseException) and id(each) not in seen:
            seen.add(id(each))
            unread += [each.__cause__, each.__context__, *each.args]
    return None
