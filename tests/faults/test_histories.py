"""The judge of the kill campaigns condemns what it is there to condemn."""

from __future__ import annotations

import pytest

from tests.faults.histories import DELETED_EVERY, History, Violation, text_of


def history(**given):
    return History("d", **given)


def parts(state, document_id="d"):
    return text_of(document_id, state).split("\n\n")


def test_one_whole_version_is_fine_and_may_not_be_passed_again():
    one = history(begun=2, acknowledged=1)
    one.judge(parts(2), one.floor())
    assert one.floor() == 2


@pytest.mark.parametrize(
    ("texts", "what"),
    [
        (parts(2)[:-1], "half"),
        (parts(2)[2:] + parts(1)[:2], "half"),
        (parts(2) + parts(1), "half"),
        (parts(1), "ghost"),
        (parts(3), "ghost"),
        ([], "loss"),
        (parts(2, "other"), "another"),
    ],
)
def test_anything_else_is_a_violation(texts, what):
    one = history(begun=2, acknowledged=2)
    with pytest.raises(Violation, match=what):
        one.judge(texts, one.floor())


def test_nothing_may_be_found_before_the_first_version_and_of_a_deleted_document():
    history(begun=1).judge([], 0)
    deleted = history(begun=DELETED_EVERY, acknowledged=DELETED_EVERY - 1)
    deleted.judge([], deleted.floor())
    assert deleted.floor() == DELETED_EVERY


def test_a_deleted_document_does_not_come_back():
    deleted = history(begun=DELETED_EVERY, acknowledged=DELETED_EVERY)
    with pytest.raises(Violation, match="ghost"):
        deleted.judge(parts(DELETED_EVERY - 1), deleted.floor())


def test_an_answer_of_an_old_snapshot_may_be_passed_but_must_be_whole():
    one = history(begun=3, acknowledged=3)
    one.judge(parts(1), one.floor(), is_old=True)
    assert one.floor() == 3
    with pytest.raises(Violation, match="half"):
        one.judge(parts(1)[:-1], one.floor(), is_old=True)
