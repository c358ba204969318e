"""What a command ends with when the gateway answers with a problem: the exit codes of the contract, status by status."""

from __future__ import annotations

import pytest

from gateway.cli.output import report_error
from gateway.client import RemoteProblem
from gateway.errors import STATUS, RangeNotSatisfiable, TicketgateError, VerificationFailed

CONTRACT = {
    400: 4,
    401: 3,
    403: 3,
    404: 4,
    409: 3,
    413: 4,
    415: 4,
    422: 4,
    429: 5,
    500: 1,
    503: 5,
}


@pytest.mark.parametrize(("status", "expected"), CONTRACT.items())
def test_an_answer_of_the_gateway_ends_the_command_as_the_contract_says(
    status: int, expected: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        report_error(RemoteProblem(status, {"detail": "there is no such thing", "code": "any"}))
    assert ended.value.code == expected
    assert "there is no such thing" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [kind for kind in STATUS if kind not in {TicketgateError, VerificationFailed}])
def test_an_error_raised_here_ends_like_the_same_answer_from_afar(kind: type[TicketgateError]) -> None:
    here = kind("a sentence", size=0) if kind is RangeNotSatisfiable else kind("a sentence")
    assert here.exit_code == RemoteProblem(STATUS[kind], {}).exit_code


def test_a_failed_verification_ends_in_six() -> None:
    assert VerificationFailed("the digest differs").exit_code == 6
