"""The bell: whoever has something for the publisher rings it, whenever that is."""

from __future__ import annotations

import pytest

from edge.system.bell import Bell, Rung

SILENT = Rung(news=False, topics=frozenset(), everything=False)


def test_what_it_was_rung_for_is_taken_once():
    """Also what came before anybody listened."""
    bell = Bell()
    assert bell.take() == SILENT
    bell.news()
    bell.news()
    assert bell.take() == SILENT._replace(news=True)
    assert bell.take() == SILENT


def test_topics_to_renew_gather_until_they_are_taken():
    """One, several, or all; each is news."""
    bell = Bell()
    for topic in ("a/info", "a/update", "a/info"):
        bell.renew(topic)
    assert bell.take() == Rung(
        news=True, topics=frozenset({"a/info", "a/update"}), everything=False
    )
    bell.renew()
    assert bell.take() == SILENT._replace(news=True, everything=True)
    assert bell.take() == SILENT
    bell.news()
    assert bell.take() == SILENT._replace(news=True), "what was renewed is not renewed again"


def test_whoever_listens_is_woken_each_time_and_never_after():
    """To ring alone is no news: there is nothing new on disk."""
    bell, woken = Bell(), []
    bell.ring()
    with bell.heard(lambda: woken.append(1)):
        bell.ring()
        assert bell.take() == SILENT
        bell.news()
        bell.renew("a/info")
        assert len(woken) == 3
    bell.ring()
    assert len(woken) == 3
    assert bell.take().topics == {"a/info"}


def test_a_listener_that_fails_is_heard_no_more():
    """The next connection listens anew."""
    bell, woken = Bell(), []
    with pytest.raises(OSError, match="gone"), bell.heard(lambda: woken.append(1)):
        raise OSError("gone")
    bell.ring()
    assert woken == []
