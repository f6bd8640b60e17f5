"""Which commands Redis refuses: each that the program uses is tried, on a key of its own that is removed again."""

import hashlib
from collections.abc import Iterator
from typing import Final

from redis.exceptions import ResponseError

from processor.settings import Settings
from processor.state.cluster_nodes import Cluster
from processor.state.line import Command, answered, classify
from processor.state.servers import Servers

_SCRIPT: Final = "return redis.call('HGET', KEYS[1], 'field')"
_DIGEST: Final = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()


def refused(servers: Servers, settings: Settings) -> list[tuple[str, str]]:
    """Return a line for each command that Redis refuses: ("problem", ...) for what work needs, else ("note", ...).

    Raises RedisError if Redis does not answer.
    """
    key = f"order-facts:check:{{{settings.instance_id}}}"
    shared = f"{key}:shared"
    needed: list[Command] = [
        ("HSET", key, "field", "value"),
        ("HGET", key, "field"),
        ("HMGET", key, "field"),
        ("EVAL", _SCRIPT, 1, key),
        ("SCRIPT", "LOAD", _SCRIPT),
        ("EVALSHA", _DIGEST, 1, key),
        ("HDEL", key, "field"),
        *([("ASKING",)] if isinstance(servers, Cluster) else []),
    ]
    of_index = "`contacts index` needs it"
    useful: list[tuple[Command, str]] = [
        (("ZADD", shared, 0, "member"), of_index),
        (("ZSCORE", shared, "member"), of_index),
        (("ZREVRANGEBYLEX", shared, "+", "-"), of_index),
        (("ZREM", shared, "member"), of_index),
        (("HSCAN", key, 0), "`verify` needs it"),
        (("INFO",), "its role is asked by HELLO or ROLE, its policy by CONFIG GET"),
        (("CLIENT", "SETNAME", f"order-facts-{settings.instance_id}"), "its connections have no name"),
        (("SCAN", 0, "MATCH", key, "COUNT", 1), "`state prune` needs it"),
        (("OBJECT", "IDLETIME", key), "`state prune` needs it"),
        (("MEMORY", "USAGE", key), "it is not known what orders and contacts take"),
        (("HLEN", key), "it is not known what orders and contacts take"),
    ]
    found = [("problem", text) for text in _errors(servers, key, needed)]
    for command, use in useful:
        found += [("note", f"{text}; {use}") for text in _errors(servers, key, [command])]
    found += [("problem", text) for text in _errors(servers, key, [("UNLINK", key, shared)])]
    return found


def _errors(servers: Servers, key: str, commands: list[Command]) -> Iterator[str]:
    """Yield what is wrong for each command that is refused, all of them sent to the server of one key."""
    for command, answer in zip(commands, answered(servers, commands, servers.place(key)), strict=True):
        if isinstance(answer, ResponseError) and not str(answer).startswith("no such key"):
            name = " ".join(command[:2]) if command[0] in {"SCRIPT", "CLIENT", "OBJECT", "MEMORY"} else command[0]
            yield f"{str(classify(answer)).partition(';')[0]} ({name})"
