"""Groups in the file: who is a member, who reads which log, and since which generation.

An assignment's epoch is the generation at which its member got it; a commit must name it, so whoever lost a log in between, were it
for a moment only, is fenced, while a member that kept it is not disturbed by a rebalance elsewhere.
Every function here runs within the caller's transaction, unless it says that it only reads.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import apsw

from bus.errors import UnknownTopicError
from bus.sqlite_assignment import assign
from bus.sqlite_file import query


@dataclass(frozen=True, slots=True)
class Member:
    """One life of one member of a group."""

    group: str
    name: str
    instance: str
    """Random per life: a second life under the same name replaces the first."""
    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Standing:
    """What the file says of a member now."""

    instance: str | None
    """Of the life that holds the name; None when nobody does."""
    epochs: Mapping[int, int]
    """Epoch by log id of what the name is assigned."""


def join(connection: apsw.Connection, member: Member, now_ms: int) -> None:
    """Become a member, in place of an earlier life of the same name. Raises UnknownTopicError."""
    for topic in member.topics:
        if not query(connection, "SELECT 1 FROM log WHERE topic = ?", (topic,)):
            raise UnknownTopicError(f"no topic {topic}: it is not in topics.yaml, or not created yet")
    connection.execute(
        "INSERT INTO member (group_name, member, instance, topics, heartbeat_ms) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET instance = excluded.instance, topics = excluded.topics, heartbeat_ms = excluded.heartbeat_ms",
        (member.group, member.name, member.instance, json.dumps(member.topics), now_ms),
    )
    _rebalance(connection, member.group, reissued=(member.name,))


def leave(connection: apsw.Connection, member: Member) -> None:
    """Give everything to the others, unless a later life holds the name."""
    _delete(connection, member)
    if connection.changes():
        _rebalance(connection, member.group)


def heartbeat(connection: apsw.Connection, member: Member, now_ms: int) -> None:
    """Say that this life goes on; nothing happens when it does not hold the name any more."""
    connection.execute(
        "UPDATE member SET heartbeat_ms = ? WHERE group_name = ? AND member = ? AND instance = ?",
        (now_ms, member.group, member.name, member.instance),
    )


def expire(connection: apsw.Connection, group: str, now_ms: int, session_timeout_ms: int) -> None:
    """Remove members whose last sign of life is older than the timeout, or so far in the future that the clock has been set back."""
    connection.execute(
        "DELETE FROM member WHERE group_name = ? AND abs(? - heartbeat_ms) > ?", (group, now_ms, session_timeout_ms)
    )
    if connection.changes():
        _rebalance(connection, group)


def standing(connection: apsw.Connection, member: Member) -> Standing:
    """Who holds the name, and which logs it reads; it only reads, in one statement, so that the two belong together."""
    rows = query(
        connection,
        "SELECT m.instance, a.log, a.epoch FROM member m"
        " LEFT JOIN assignment a ON a.group_name = m.group_name AND a.member = m.member"
        " WHERE m.group_name = ? AND m.member = ?",
        (member.group, member.name),
    )
    instance = str(rows[0][0]) if rows else None
    return Standing(instance, {int(log): int(epoch) for _, log, epoch in rows if log is not None})


def commit(connection: apsw.Connection, member: Member, log: int, epoch: int, offset: int) -> bool:
    """Store the offset if the member has held the log since `epoch`; whether it was stored."""
    connection.execute(
        "INSERT INTO committed (group_name, log, offset)"
        " SELECT group_name, log, ? FROM assignment WHERE group_name = ? AND log = ? AND member = ? AND epoch = ?"
        " ON CONFLICT DO UPDATE SET offset = excluded.offset",
        (offset, member.group, log, member.name, epoch),
    )
    return bool(connection.changes())


def _delete(connection: apsw.Connection, member: Member) -> None:
    connection.execute(
        "DELETE FROM member WHERE group_name = ? AND member = ? AND instance = ?",
        (member.group, member.name, member.instance),
    )


def _rebalance(connection: apsw.Connection, group: str, reissued: Sequence[str] = ()) -> None:
    connection.execute(
        "INSERT INTO consumer_group (name, generation) VALUES (?, 1) ON CONFLICT DO UPDATE SET generation = generation + 1",
        (group,),
    )
    generation = query(connection, "SELECT generation FROM consumer_group WHERE name = ?", (group,))[0][0]
    members = query(connection, "SELECT member, topics FROM member WHERE group_name = ?", (group,))
    topics_of = {str(m): frozenset(str(t) for t in json.loads(topics)) for m, topics in members}
    before = dict(_owners(connection, group))
    after = assign(_logs(connection, frozenset().union(*topics_of.values())), topics_of, before)
    gone = [(group, log) for log in before if log not in after]
    connection.executemany("DELETE FROM assignment WHERE group_name = ? AND log = ?", gone)
    moved = [(group, log, m, generation) for log, m in after.items() if before.get(log) != m or m in reissued]
    connection.executemany(
        "INSERT OR REPLACE INTO assignment (group_name, log, member, epoch) VALUES (?, ?, ?, ?)", moved
    )


def _owners(connection: apsw.Connection, group: str) -> Iterable[tuple[int, str]]:
    rows = query(connection, "SELECT log, member FROM assignment WHERE group_name = ?", (group,))
    return [(int(log), str(member)) for log, member in rows]


def _logs(connection: apsw.Connection, topics: frozenset[str]) -> dict[int, str]:
    rows = query(connection, "SELECT id, topic FROM log")
    return {int(log): str(topic) for log, topic in rows if topic in topics}
