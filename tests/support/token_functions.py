"""Functions for the setting `kafka_token`, as an operator writes them."""

import json
import time
from pathlib import Path

from tests.support.guarded_kafka import unsecured_token


def made(config):
    """Give a token of a user that lives for some seconds, and note the call; raise where a file is present.

    The configuration is a JSON object: user, life_s, calls and broken (two files).
    """
    wanted = json.loads(config)
    with Path(wanted["calls"]).open("a", encoding="utf-8") as calls:
        calls.write(f"{time.time()}\n")
    token = unsecured_token(wanted["user"], now := time.time(), now + wanted["life_s"])
    if Path(wanted["broken"]).exists():
        raise RuntimeError(token)
    return token, now + wanted["life_s"], wanted["user"], {"traceId": "of the tests"}


def overstated(config):
    """Give the same token, and say that it lives for a minute longer."""
    token, expires_s, *_ = made(config)
    return token, expires_s + 60
