"""What FileMaker Server can refuse, each with the sentence that says what to do next.

    FileMakerError
    └── DataApiError               carries FileMaker's code, when there is one
        ├── the account            WrongPassword, AccountUnusable (a WrongPassword), AccountLocked,
        │                          PrivilegeMissing, TokenInvalid
        ├── the file               DatabaseNotOpen, LayoutMissing, SlashRefused (a LayoutMissing), FieldMissing,
        │                          RecordMissing, NoRecordsMatch, RecordInUse, RecordChanged, ValueRefused
        ├── the request            RequestRefused, AnswerTooLarge
        ├── the server             DataApiOff, NotTheDataApi, CertificateRefused, ServerUnavailable,
        │                          AnswerCut (a ServerUnavailable), ServerTimeout, ServerBusy, ServerTooOld, UnknownCode
        ├── the answer             UnreadableAnswer, UnreadableRecord (an UnreadableAnswer)
        ├── the reading            ChangedWhileReading, RecordsHidden
        └── the container          ContainerElsewhere, ContainerExpired, ContainerRefused, ContainerNotAFile,
                                   ContainerTooLarge, DownloadsStopped (a ServerUnavailable)

FileMaker's codes: Claris, "FileMaker error codes" (Pro Help) and Data API Guide, "Error responses".
FileMaker's own message texts are not repeated: they may quote what was sent.
"""

from __future__ import annotations

from typing import ClassVar

from fm_pipeline.errors import FileMakerError


class DataApiError(FileMakerError):
    """Base of the leaves.

    Args:
        what: what happened, one sentence with the names of layouts and fields, never a value.
        code: FileMaker's code, None when the answer had none.
    """

    consequence: ClassVar[str] = ""
    next_step: ClassVar[str] = ""
    answer: ClassVar[str] = "answered code"  # in words where a reader may have no list of codes at hand

    def __init__(self, what: str, *, code: int | None = None, remedy: str = "") -> None:
        self.code = code
        super().__init__(what, meaning=self.consequence, remedy=remedy or self.next_step)


class WrongPassword(DataApiError):
    """The account name or the password is wrong."""

    answer = "refused the account or its password with code"
    consequence = "The password was sent once and is not tried again, because FileMaker locks accounts."
    next_step = (
        "Correct FILEMAKER_USERNAME and FILEMAKER_PASSWORD, then start again. If they are right: some servers answer so"
        " if the privilege set lacks the extended privilege fmrest (Data API) or fmodata (OData)."
    )


class AccountUnusable(WrongPassword):
    """The account is inactive, or its password has expired."""

    answer = "says that the account is inactive or its password has expired, by code"
    next_step = (
        "In FileMaker (Manage > Security), make the account active, and give it a password that does not expire; then "
        "set FILEMAKER_PASSWORD and start again."
    )


class AccountLocked(DataApiError):
    """Too many logins with a wrong password."""

    consequence = "FileMaker refuses the account for some minutes, whatever the password."
    next_step = "Wait 15 minutes, correct FILEMAKER_PASSWORD, then start again; look for other programs that use it."


class PrivilegeMissing(DataApiError):
    """The account may not do this."""

    consequence = "Nothing was read or written by this call."
    next_step = (
        "In FileMaker, give the account's privilege set the extended privilege fmrest (access via the Data "
        "API) and access to this layout, its table and its fields."
    )


class TokenInvalid(DataApiError):
    """The session was refused right after a new login."""

    consequence = "Something on the server closes the sessions at once."
    next_step = (
        "Check that FILEMAKER_DATABASE is spelled exactly as in FileMaker Server, letter case included, and "
        "that nobody disconnects Data API clients in the Admin Console, then start again."
    )


class DatabaseNotOpen(DataApiError):
    """The file is unknown or not open."""

    answer = "has no such file open, and said so with code"
    consequence = "Nothing was read or written."
    next_step = "Check FILEMAKER_DATABASE (without .fmp12) and open the file in the Admin Console."


class LayoutMissing(DataApiError):
    """The layout does not exist, or not for this account."""

    next_step = "Create the layout in FileMaker, or correct its name in the mapping profile."


class SlashRefused(LayoutMissing):
    """The web server of FileMaker does not pass on the name of a layout that holds a slash."""

    next_step = "Make a layout without a slash in its name, and name it in the mapping profile."


class FieldMissing(DataApiError):
    """A field is not on the layout."""

    consequence = "Without it the rows would be incomplete, so none was taken."
    next_step = "Place the field on the layout in FileMaker, or correct its name in the mapping profile."


class RecordMissing(DataApiError):
    """The record does not exist any more."""

    next_step = "It was deleted in FileMaker; read the layout again."


class NoRecordsMatch(DataApiError):
    """A find matched nothing."""


class RecordInUse(DataApiError):
    """Somebody has the record open."""

    next_step = "Ask who edits the record in FileMaker to leave it, then try again."


class RecordChanged(DataApiError):
    """The record was edited since it was read."""

    consequence = "It was left as it is."
    next_step = "Read the record again and decide anew."


class ValueRefused(DataApiError):
    """A validation rule of the field refuses the value."""

    consequence = "The record was left as it is."
    next_step = "Look at the validation rules of the fields in FileMaker."


class RequestRefused(DataApiError):
    """The server does not accept the request as it is."""

    next_step = "The server may be older than FileMaker Server 18, which is the first that is supported."


class AnswerTooLarge(DataApiError):
    """The answer is larger than the server may send, or the yearly amount is used up."""

    next_step = (
        "Set FILEMAKER_PAGE_SIZE lower; if that does not help, look at the transfer limit of the Data API "
        "and OData in the Admin Console."
    )


class DataApiOff(DataApiError):
    """The Data API is switched off."""

    next_step = "Switch the Data API on in the Admin Console, under Connectors, then start again."


class NotTheDataApi(DataApiError):
    """Something answered, but it was not the Data API."""

    consequence = "Either another web server answers at this address, or the Data API is switched off."
    next_step = "Check FILEMAKER_URL, and that the Data API is switched on in the Admin Console, under Connectors."


class CertificateRefused(DataApiError):
    """The server's certificate is refused, or the server speaks no TLS."""

    consequence = "No password was sent. Verification cannot be switched off."
    next_step = "Check the host and the port in FILEMAKER_URL."


class ServerUnavailable(DataApiError):
    """The server, or its web engine, does not answer."""

    consequence = "A read was repeated with growing pauses, in vain. A write is not repeated; it may have been done."
    next_step = (
        "Check FILEMAKER_URL, and look in the Admin Console whether the web publishing engine (for OData: OData) runs; "
        "restart it, or wait, then start again."
    )


class AnswerCut(ServerUnavailable):
    """The answer ends in the middle, though the web server says that it is whole."""


class UnreadableAnswer(DataApiError):
    """The answer came whole and is no valid JSON.

    Args:
        record_id: FileMaker's, of the only record in it; None if it cannot be told.
    """

    consequence = "FileMaker writes a value of some record wrong, every time, so it is not asked again."
    next_step = "Run fm-pipeline check; the reading of a table names the record."

    def __init__(self, what: str, *, record_id: int | None = None) -> None:
        self.record_id = record_id
        super().__init__(what)


class UnreadableRecord(UnreadableAnswer):
    """FileMaker cannot write a record as valid JSON."""

    consequence = "FileMaker writes a value of it wrong, every time. Without it the rows would be incomplete."
    next_step = (
        "Open the record in FileMaker (find it by Get ( RecordID )) and correct the value: usually a number or date "
        "field with other text in it, or text with control characters. Then start again, or read through another "
        "interface (FILEMAKER_DOOR)."
    )


class ServerTimeout(DataApiError):
    """The answer did not come in time."""

    next_step = (
        "Take unstored calculations, summary fields and portals off the layout (with OData: such fields out of the "
        "profile), set FILEMAKER_PAGE_SIZE lower or FILEMAKER_TIMEOUT_SECONDS higher, then start again."
    )


class ServerBusy(DataApiError):
    """No session or capacity is left."""

    next_step = "Disconnect idle Data API clients in the Admin Console, or wait 15 minutes, then start again."


class ServerTooOld(DataApiError):
    """The server does not count the records that it sends (FileMaker Server 17)."""

    consequence = "It cannot be proved that a layout was read completely."
    next_step = "Use FileMaker Server 18 or later."


class UnknownCode(DataApiError):
    """A code without an explanation of ours."""

    next_step = "Look the code up in Claris's list of FileMaker error codes."


class ChangedWhileReading(DataApiError):
    """Records came or went while a layout was read, each time that it was tried."""

    consequence = "It cannot be proved that every record was read once, so none was taken."
    next_step = "The file is being edited: start again when it is quiet, for example in the evening."


class RecordsHidden(DataApiError):
    """A table has records that the account may not see."""

    consequence = "FileMaker leaves them out, and a sync would take them for deleted. Nexus is unchanged."


class ContainerElsewhere(DataApiError):
    """A container's URL, or the redirect from it, names another server."""

    consequence = "Nothing was sent there: the session's token is for FileMaker Server alone."
    next_step = "Set FILEMAKER_URL to the name and port that FileMaker Server itself uses in the URLs of containers."


class ContainerExpired(DataApiError):
    """FileMaker Server does not know the container's URL (any more), also not a new one."""

    consequence = "The file was not taken."
    next_step = (
        "Start again; if it stays so, restart the web publishing engine, and check that the account may see the field."
    )


class ContainerRefused(DataApiError):
    """FileMaker Server refused to send the file of a container."""

    consequence = "The file was not taken."
    next_step = "Open the record in FileMaker and look whether the container shows its picture."


class ContainerNotAFile(DataApiError):
    """In place of a file there came a web page or JSON."""

    consequence = "It was not taken for the file."
    next_step = "Open the record in FileMaker and look whether the container shows its picture."


class ContainerTooLarge(DataApiError):
    """The file is larger than anything that is expected."""

    consequence = "It was not read to its end."
    next_step = "Look at the record in FileMaker; if the file is right, carry it over by hand."


class DownloadsStopped(ServerUnavailable):
    """The web engine of FileMaker Server does not send files any more, as it does after many downloads."""

    consequence = "More requests at this moment would make it worse."
    next_step = (
        "Restart the web publishing engine in the Admin Console, or wait an hour, then start again: "
        "what is done is not done again."
    )


# FileMaker's code -> what it means here. 101 and 401 often just say "no rows"; the client decides.
BY_CODE: dict[int, type[DataApiError]] = {
    9: PrivilegeMissing,
    10: WrongPassword,
    100: DatabaseNotOpen,
    101: RecordMissing,
    102: FieldMissing,
    105: LayoutMissing,
    106: LayoutMissing,
    112: TokenInvalid,
    200: PrivilegeMissing,
    201: PrivilegeMissing,
    202: PrivilegeMissing,
    210: AccountUnusable,
    211: AccountUnusable,
    212: WrongPassword,
    214: AccountLocked,
    301: RecordInUse,
    306: RecordChanged,
    401: NoRecordsMatch,
    **dict.fromkeys(range(500, 512), ValueRefused),
    802: DatabaseNotOpen,
    812: ServerBusy,
    952: TokenInvalid,
    953: AnswerTooLarge,
    955: DatabaseNotOpen,
    956: ServerBusy,
    957: RequestRefused,
    958: RequestRefused,
    959: DataApiOff,
    960: RequestRefused,
    1630: RequestRefused,
    1702: WrongPassword,
    1703: WrongPassword,
    **dict.fromkeys([1700, 1701, *range(1704, 1715)], RequestRefused),
}


def error_for(code: int, action: str) -> DataApiError:
    """The error of a FileMaker code.

    Args:
        code: from `messages[0].code`.
        action: what was asked for, for example "read the layout API_Notes"; names only, never a value.
    """
    kind = BY_CODE.get(code, UnknownCode)
    return kind(f"FileMaker {kind.answer} {code} when asked to {action}.", code=code)
