"""Proves that commands sent without waiting are answered in turn, and what is left of them where one fails."""

import time
from contextlib import closing
from typing import Any

import pytest
from redis.exceptions import ResponseError

from processor.errors import RedisError
from processor.settings import Settings
from processor.state.connection import connect
from processor.state.line import Line


@pytest.fixture
def key(settings, redis_client):
    """Give a key of this test's own."""
    name = f"line-{settings.group_id}"
    yield name
    redis_client.delete(name)


@pytest.fixture
def client(settings):
    """Give the client whose pool the line takes its connection from."""
    with closing(connect(settings)) as client:
        yield client


def test_later_question_sees_what_was_sent_before(client, key):
    """A write is sent and not waited for; the question after it finds it, and each gets its own answers."""
    line, written = Line(client), list[Any]()
    line.execute_command("SET", key, "1")
    line.execute_command("INCR", key)
    line.send(written.append)
    assert written == []
    line.execute_command("GET", key)
    line.send()
    assert line.answers() == [b"2"]
    assert written == [[b"OK", 2]]
    assert line.answers() == []


def test_error_of_one_command_leaves_the_others_answers_in_their_place(client, key):
    """Whoever takes its own answers is given the error; among the answers returned it is raised; then all goes on."""
    line, written = Line(client), list[Any]()
    line.execute_command("SET", key, "text")
    line.execute_command("INCR", key)
    line.execute_command("STRLEN", key)
    line.send(written.append)
    line.execute_command("HGET", key, "field")
    line.execute_command("GET", key)
    line.send()
    with pytest.raises(RedisError, match="WRONGTYPE"):
        line.answers()
    ((done, failed, length),) = written
    assert (done, length) == (b"OK", 4)
    assert isinstance(failed, ResponseError)
    line.execute_command("GET", key)
    line.send()
    assert line.answers() == [b"text"]


def test_taker_that_fails_takes_its_answers_along(client, key):
    """What is left unread is never taken for the answers to the next question."""
    line = Line(client)

    def fail(answers):
        raise OSError(f"no room for {len(answers)} answers")

    line.execute_command("SET", key, "1")
    line.send(fail)
    line.execute_command("GET", key)
    line.send()
    with pytest.raises(OSError, match="no room for 1 answers"):
        line.answers()
    line.execute_command("STRLEN", key)
    line.send()
    assert line.answers() == [1]


def test_connection_that_is_lost_takes_its_answers_along(client, redis_client, key):
    """A server that goes away between question and answer is a RedisError; the next question has a new connection."""
    line, written = Line(client), list[Any]()
    (server,) = client.primaries()
    line.execute_command("CLIENT", "ID", at=server)
    line.send()
    (number,) = line.answers()
    line.execute_command("SET", key, "1")
    line.send(written.append)
    redis_client.client_kill_filter(_id=number)
    line.execute_command("GET", key)
    with pytest.raises(RedisError):
        _ask(line)
    line.execute_command("CLIENT", "ID", at=server)
    (other,) = _ask(line)
    assert other != number


def test_server_that_is_not_there_is_an_error_of_redis(tmp_path):
    """No connection, no answers: said at once, and nothing of the question is kept."""
    line = Line(connect(Settings(redis_url=f"unix://{tmp_path / 'nobody'}")))
    line.execute_command("GET", "key")
    began = time.monotonic()
    with pytest.raises(RedisError):
        line.send()
    assert time.monotonic() - began < 1
    assert line.answers() == []


def _ask(line):
    line.send()
    return line.answers()
