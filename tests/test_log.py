"""Log events as data."""

import json

import pytest

from csi_driver import log
from csi_driver.inflight import spawn


def test_a_json_event_holds_its_fields_and_those_of_its_context(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("info", "json")
    with log.context(volume="csi-1", pod=None):
        log.event("published", bytes=12, target="/a b")
    event = json.loads(capsys.readouterr().err)
    assert {
        "message": "published",
        "volume": "csi-1",
        "bytes": 12,
        "target": "/a b",
        "level": "info",
    }.items() <= event.items()
    assert "pod" not in event


def test_a_line_of_text_stays_one_line_whatever_a_value_holds(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("info", "text")
    log.event("pulled", path="a\nb", name="\ud800", seconds=1.5)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert r'path="a\nb"' in lines[0]
    assert "seconds=1.500" in lines[0]


def test_work_that_is_handed_to_a_thread_keeps_its_context(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("info", "json")
    with log.context(volume="csi-1"):
        spawn("test", lambda: log.event("pulled")).result(30)
    assert json.loads(capsys.readouterr().err)["volume"] == "csi-1"


def test_events_below_the_level_are_not_logged_and_errors_bring_their_trace(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("warning", "json")
    log.event("quiet")
    log.warning("loud", error=ValueError("because"))
    event = json.loads(capsys.readouterr().err)
    assert event["message"] == "loud"
    assert "ValueError: because" in event["trace"]
