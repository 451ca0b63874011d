"""Requests are attributed to hooks, and refused at some points."""

from __future__ import annotations

import pytest

from research.edits.base import EditError
from research.edits.records import EditRequest
from research.training.requests import POINTS_WITHOUT_EDITS, EditRequests

FREEZE = EditRequest("freeze", {"modules": "encoder"})
SCALE = EditRequest("scale_lr", {"factor": 0.5})


def test_take_returns_requests_once_and_in_order() -> None:
    requests = EditRequests()
    requests.request_edits([FREEZE])
    requests.request_edits([SCALE])
    assert requests.pending == (FREEZE, SCALE)
    assert requests.take() == [FREEZE, SCALE]
    assert requests.take() == []


def test_calling_attributes_requests_inside_its_context_to_the_hook() -> None:
    requests = EditRequests()
    with requests.calling("hook", "after_step"):
        assert (requests.requested_by, requests.point) == ("hook", "after_step")
        requests.edit.scale_lr(0.5)
    assert (requests.requested_by, requests.point) == ("Python", None)
    assert [request.requested_by for request in requests.take()] == ["hook"]


@pytest.mark.parametrize("point", POINTS_WITHOUT_EDITS)
def test_request_edits_refuses_points_without_a_later_boundary(point: str) -> None:
    requests = EditRequests()
    with (
        requests.calling("saver", point),
        requests.calling("hook", "after_evaluate"),  # in an evaluation that the saver starts
        pytest.raises(EditError, match=point),
    ):
        requests.request_edits([FREEZE])
    assert requests.take() == []
    requests.request_edits([FREEZE])
    assert requests.take() == [FREEZE]


def test_request_edits_reports_and_drops_requests_after_the_last_boundary(
    capsys: pytest.CaptureFixture[str],
) -> None:
    requests = EditRequests()
    requests.takes_edits = False
    requests.request_edits([FREEZE])
    assert requests.pending == ()
    assert "freeze(modules='encoder')" in capsys.readouterr().out


def test_caller_hash_depends_on_hook_and_point() -> None:
    requests = EditRequests()
    hashes = [requests.caller_hash]
    for requested_by, point in (("hook A", "after_step"), ("hook A", "before_step"), ("hook B", "after_step")):
        with requests.calling(requested_by, point):
            hashes.append(requests.caller_hash)
    assert len(set(hashes)) == 4
    with requests.calling("hook A", "after_step"):
        assert requests.caller_hash == hashes[1] == 2021919503  # fixed, so that resumed runs draw the same numbers
