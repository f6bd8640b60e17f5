"""What the program repeats of Redis's errors."""

import pytest
from redis.exceptions import NoPermissionError, ResponseError

from processor.errors import RedisError, StopError
from processor.state.line import classify

SECRET = "hunter2"
UNKNOWN = "unknown command 'HMGET', with args beginning with: 'key' 'order-7' 'Buyer.1@shop.example' "


@pytest.mark.parametrize(
    "text", [UNKNOWN, f"Command # 1 (HMGET key order-7 (a)\nBuyer) of pipeline caused error: {UNKNOWN}"]
)
def test_what_a_command_was_given_is_not_repeated(text):
    """Redis and its client name the arguments of a command that failed: order ids, orders. Nobody may log those."""
    assert str(classify(ResponseError(text))) == "Redis: unknown command 'HMGET'"


@pytest.mark.parametrize(
    ("error", "kind", "line"),
    [
        (ResponseError("OOM command not allowed\nwhen used"), RedisError, "Redis: OOM command not allowed when used"),
        (ResponseError(""), RedisError, "Redis: ResponseError"),
        (
            ResponseError("user executing the script can't run"),
            StopError,
            "Redis: user executing the script can't run; check the setting redis_url and the server's access rules",
        ),
        (NoPermissionError("no"), StopError, "Redis: no; check the setting redis_url and the server's access rules"),
    ],
)
def test_the_rest_is_repeated_in_one_line(error, kind, line):
    """What Redis says is what an operator needs."""
    found = classify(error)
    assert (type(found), str(found)) == (kind, line)
