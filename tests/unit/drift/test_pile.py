"""Findings that lie in a file are the same as those in memory, in their order; and what is printed of them too."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

import pytest

from anicca.cli.drift import json_pieces
from anicca.drift import lost, pages, pile
from anicca.drift.compare import Drift
from anicca.drift.findings import Findings, from_record, to_record
from anicca.drift.pages import Page
from anicca.drift.pile import DRIFT, UNREAD, Finding, Pile
from anicca.drift.report import render
from anicca.drift.rules import judge

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE, DIRECTORY = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755


def many(number: int) -> Iterator[Finding]:
    """Of several classes, with what is no drift in between, and two of one path."""
    for at in range(number):
        top = (b"/srv", b"/etc/cron.d", b"/var/log")[at % 3]
        drift = Drift(top + b"/%d" % at, "added", mode=FILE, size=at, xattrs=("user.a",), target=b"\xff")
        if at % 7 == 0:
            drift = drift._replace(kind="unreadable", now="Input/output error")
        yield Finding(drift, judge(drift, lambda _: False), by="ann")
        if at % 10 == 1:
            yield Finding(drift._replace(kind="owner"), judge(drift._replace(kind="owner"), lambda _: False))


def findings(found: Pile) -> Findings:
    return Findings("us", found, 10, 0, 9, 0, sees_beneath=True, notes=("a note",))


@pytest.mark.parametrize("held", [1, 7, 1000])
def test_what_is_put_on_a_pile_comes_back_again_and_again(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pile, "HELD", held)
    wanted = list(many(100))
    found = Pile(wanted)
    assert (list(found), list(found), len(found)) == (wanted, wanted, len(wanted))
    # Two at once do not take each other's place.
    assert list(zip(found, found, strict=True)) == list(zip(wanted, wanted, strict=True))
    whole = findings(found)
    assert list(whole.unread) == [one for one in wanted if one.drift.kind == "unreadable"]
    assert list(whole.drift.of("log")) == [one for one in wanted if one.part == DRIFT and one.judgement.name == "log"]
    assert len(whole.drift) + len(whole.unread) + len(whole.explained) == len(wanted)


def test_it_counts_paths_and_their_bytes_once() -> None:
    found = Pile(many(100))
    for part in (DRIFT, UNREAD):
        sizes = {one.drift.path: one.drift.size for one in found if one.part == part}
        assert (found.counts[part].paths, found.counts[part].size_bytes) == (len(sizes), sum(sizes.values()))


def test_what_is_told_is_the_same_wherever_they_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(found: Findings) -> list[str]:
        return [*render(found), *render(found, everything=True), *render(found, summary=True)]

    one = findings(Pile(many(300)))
    monkeypatch.setattr(pile, "HELD", 8)
    other = findings(Pile(many(300)))
    assert told(one) == told(other)
    assert pages.render(Page({"host": "h"}, one)) == pages.render(Page({"host": "h"}, other))
    assert list(from_record(to_record(one)).found) == list(from_record(to_record(other)).found)


@pytest.mark.parametrize("number", [0, 1, 50])
def test_json_in_pieces_is_json(number: int) -> None:
    found = findings(Pile(many(number)))
    whole = {name: list(value) if hasattr(value, "__next__") else value for name, value in to_record(found).items()}
    assert "".join(json_pieces(to_record(found))) == json.dumps(whole, indent=2, sort_keys=True) + "\n"
    nested = "".join(json_pieces({"findings": to_record(found), "more": {}}))
    assert nested == json.dumps({"findings": whole, "more": {}}, indent=2, sort_keys=True) + "\n"


def test_of_very_many_the_map_has_their_directories(monkeypatch: pytest.MonkeyPatch) -> None:
    def data(found: Pile) -> list[list[object]]:
        text = pages.render(Page({"host": "h"}, findings(found)))
        leaves: list[list[object]] = json.loads(text.partition('id="data">')[2].partition("</script>")[0])["leaves"]
        return leaves

    paths = [b"/var/lib/%d/%d" % (at // 50, at) for at in range(500)]
    found = Pile(
        Finding(one, judge(one, lambda _: False)) for one in (Drift(path, "added", mode=FILE, size=2) for path in paths)
    )
    assert len(data(found)) == 500
    monkeypatch.setattr(pages, "MOST_LEAVES", 100)
    few = data(found)
    assert len(few) <= 100
    assert (sum(size for _, size, _, _ in few), sum(number for *_, number in few)) == (1000, 500)  # type: ignore[misc]


def test_of_very_many_the_suspicious_are_remembered_and_the_rest_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lost, "MOST_LISTED", 30)
    found = findings(Pile(many(60)))
    listed, more = lost.plan_list(found)
    suspicious = [one.drift.path for one in found.drift.of("suspicious")]
    assert 0 < len(suspicious) < 30
    assert [one.drift.path for one in listed.drift.of("suspicious")] == suspicious
    assert len(listed.found) == 30
    assert listed.drift.count.paths + more == found.drift.count.paths
