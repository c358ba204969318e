"""What can break, and what each breakage means to people: one table for HTTP, one for exit codes.

Invariants:
    - A refusal by rules is a value (`Decision`, `Verdict`), not an exception. What raises here is breakage or a request
      that could not be taken up at all.
    - `code` is a stable slug with a page under `/problems/`; `detail` never holds a secret or a raw row.
    - Every subclass stands in `STATUS`; the exit code follows from the status.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import ClassVar

__all__ = [
    "EXIT_BAD_INPUT", "EXIT_FAILED", "EXIT_OK", "EXIT_REFUSED", "EXIT_UNAVAILABLE", "EXIT_USAGE", "EXIT_VERIFICATION",
    "STATUS", "BudgetExhausted", "Conflict", "InvalidRequest", "NotAuthenticated", "NotAuthorised", "NotFound",
    "NotRecorded", "PayloadTooLarge", "RangeNotSatisfiable", "TicketgateError", "TokenRefused", "TooManyRequests",
    "Unavailable", "UnsupportedMediaType", "VerificationFailed", "status_of",
]  # fmt: skip

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_REFUSED = 3
EXIT_BAD_INPUT = 4
EXIT_UNAVAILABLE = 5
EXIT_VERIFICATION = 6


class TicketgateError(Exception):
    """Something that could not be done.

    Attributes:
        code: Stable slug for programs; each has a page under `/problems/`.
        title: The kind of problem in a few words.
        unlock: What the person could change, or whom to ask.
    """

    code: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "Something went wrong"

    def __init__(self, detail: str, *, code: str | None = None, unlock: tuple[str, ...] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.slug = code or self.code
        self.unlock = unlock

    @property
    def exit_code(self) -> int:
        """What a command ends with; it follows from the HTTP status."""
        return EXIT_OF_STATUS.get(status_of(self), EXIT_FAILED)


class InvalidRequest(TicketgateError):
    """Well formed as a message, but its content cannot be processed."""

    code = "invalid-request"
    title = "The request cannot be processed"


class NotAuthenticated(TicketgateError):
    """A signature, assertion or access token did not prove who speaks. The detail says nothing about why."""

    code = "not-authenticated"
    title = "The signature or token was not accepted"


class TokenRefused(NotAuthenticated):
    """A release token is unknown, expired, revoked or used up; publicly all the same."""

    code = "invalid-token"
    title = "The token was not accepted"


class NotAuthorised(TicketgateError):
    """The principal is known, but its roles do not allow this."""

    code = "not-authorised"
    title = "Your roles do not allow this"


class NotFound(TicketgateError):
    """Nothing under this name that the principal may know of."""

    code = "not-found"
    title = "There is nothing under this name"


class Conflict(TicketgateError):
    """The thing is in a state that does not allow this, or the one-time identifier was used before."""

    code = "conflict"
    title = "The current state does not allow this"


class BudgetExhausted(TicketgateError):
    """The privacy budget of the dataset does not afford this."""

    code = "budget-exhausted"
    title = "The privacy budget does not afford this"


class PayloadTooLarge(TicketgateError):
    """The body is larger than the limit of this path."""

    code = "payload-too-large"
    title = "The request is too large"


class UnsupportedMediaType(TicketgateError):
    """The content type is not the one that this path takes."""

    code = "unsupported-media-type"
    title = "This content type is not accepted here"


class RangeNotSatisfiable(TicketgateError):
    """The byte range lies outside the file, or several ranges were asked for.

    Attributes:
        size: Of the file in bytes.
    """

    code = "range-not-satisfiable"
    title = "This byte range cannot be served"

    def __init__(self, detail: str, *, size: int) -> None:
        super().__init__(detail)
        self.size = size


class TooManyRequests(TicketgateError):
    """The rate limit of the principal or the address is reached."""

    code = "too-many-requests"
    title = "Too many requests"


class Unavailable(TicketgateError):
    """Something this depends on does not answer; trying again later may help."""

    code = "unavailable"
    title = "Temporarily unavailable"


class NotRecorded(Unavailable):
    """The act could not be written to the log, so it was not done."""

    code = "not-recorded"
    title = "The act could not be recorded and was not done"


class VerificationFailed(TicketgateError):
    """A signature, digest or proof does not hold."""

    code = "verification-failed"
    title = "Verification failed"

    @property
    def exit_code(self) -> int:
        """Has a code of its own."""
        return EXIT_VERIFICATION


STATUS: dict[type[TicketgateError], HTTPStatus] = {
    TicketgateError: HTTPStatus.INTERNAL_SERVER_ERROR,
    InvalidRequest: HTTPStatus.UNPROCESSABLE_ENTITY,
    NotAuthenticated: HTTPStatus.UNAUTHORIZED,
    TokenRefused: HTTPStatus.UNAUTHORIZED,
    NotAuthorised: HTTPStatus.FORBIDDEN,
    BudgetExhausted: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
    PayloadTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    UnsupportedMediaType: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    RangeNotSatisfiable: HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    TooManyRequests: HTTPStatus.TOO_MANY_REQUESTS,
    Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    NotRecorded: HTTPStatus.SERVICE_UNAVAILABLE,
    VerificationFailed: HTTPStatus.INTERNAL_SERVER_ERROR,
}

EXIT_OF_STATUS: dict[HTTPStatus, int] = {
    HTTPStatus.UNAUTHORIZED: EXIT_REFUSED,
    HTTPStatus.FORBIDDEN: EXIT_REFUSED,
    HTTPStatus.CONFLICT: EXIT_REFUSED,
    HTTPStatus.BAD_REQUEST: EXIT_BAD_INPUT,
    HTTPStatus.NOT_FOUND: EXIT_BAD_INPUT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: EXIT_BAD_INPUT,
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE: EXIT_BAD_INPUT,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: EXIT_BAD_INPUT,
    HTTPStatus.UNPROCESSABLE_ENTITY: EXIT_BAD_INPUT,
    HTTPStatus.TOO_MANY_REQUESTS: EXIT_UNAVAILABLE,
    HTTPStatus.SERVICE_UNAVAILABLE: EXIT_UNAVAILABLE,
}


def status_of(error: TicketgateError) -> HTTPStatus:
    """HTTP status of an error, by its nearest class in the table."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)
