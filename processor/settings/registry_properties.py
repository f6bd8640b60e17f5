"""The addresses of the schema registry, and the properties that the setting `schema_registry` takes.

The properties have the names of Confluent's Python client. Each refusal is one line; it never repeats an address or a
value, which may be a secret.
"""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

# what for -> the properties
REGISTRY_ALLOWED_FOR: Final[Mapping[str, tuple[str, ...]]] = {
    "user and password (or API key and secret), `user:password`": ("basic.auth.user.info",),
    "a token; the last two for Confluent Cloud": (
        *("bearer.auth.credentials.source", "bearer.auth.token"),
        *("bearer.auth.logical.cluster", "bearer.auth.identity.pool.id"),
    ),
    "TLS: PEM files (for the authorities also a folder)": (
        *("ssl.ca.location", "ssl.certificate.location", "ssl.key.location", "ssl.key.password"),
    ),
    "seconds that a request may take, 10 by default": ("timeout",),
}
_ALLOWED: Final = frozenset(name for names in REGISTRY_ALLOWED_FOR.values() for name in names)
_TOKEN: Final = "STATIC_TOKEN"  # noqa: S105 - the name of a way to get one
_LONGEST_S: Final = 60


def registry_problems(url: str | None, properties: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the two settings: the setting's name, and the problem."""
    if url is not None and (problem := next(_url_problems(url), None)):
        yield "schema_registry_url", problem
    if url is None and properties:
        yield "schema_registry_url", "schema_registry is set, so put the registry's address there, or remove the table"
    for problem in _property_problems(properties):
        yield "schema_registry", problem


def addresses_of(url: str) -> list[str]:
    """Return the addresses of the setting `schema_registry_url`, in order, without a slash at the end."""
    return [address.strip().rstrip("/") for address in url.split(",")]


def _url_problems(url: str) -> Iterator[str]:
    for number, address in enumerate(addresses_of(url), start=1):
        which = f"address {number}: " if "," in url else ""
        try:
            parts = urlsplit(address)
            host, port = parts.hostname, parts.port
        except ValueError:
            yield f"{which}it is not an address; put one such as https://registry.example:8081 there"
            return
        if "@" in address:
            yield f"{which}credentials have no place in an address; put them into schema_registry, basic.auth.user.info"
        if parts.scheme not in {"http", "https"} or not host or port == 0:
            yield f"{which}put an address that begins with http:// or https:// there, such as https://registry.example"
        if parts.query or parts.fragment or not address.isascii() or not address.isprintable() or " " in address:
            yield f"{which}put host, port and path there, in ASCII and nothing else"


def _property_problems(properties: Mapping[str, Any]) -> Iterator[str]:
    for name, value in properties.items():
        if name not in _ALLOWED:
            close = difflib.get_close_matches(name, _ALLOWED, n=1, cutoff=0.8)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(_ALLOWED))}"
            yield f"{name} is not known; {hint}"
        elif name == "timeout":
            if isinstance(value, str) or not 0 < value <= _LONGEST_S:
                yield f"timeout: put a number of seconds up to {_LONGEST_S} there"
        elif not isinstance(value, str) or not value or not value.isprintable():
            yield f"{name}: put a text of one line there"
    yield from _conflicts(properties)


def _conflicts(properties: Mapping[str, Any]) -> Iterator[str]:
    bearer = [name for name in properties if name.startswith("bearer.")]
    if ":" not in str(properties.get("basic.auth.user.info", ":")):
        yield "basic.auth.user.info: put user:password there"
    if bearer and "basic.auth.user.info" in properties:
        yield f"basic.auth.user.info and {bearer[0]} contradict; remove one"
    if bearer and "bearer.auth.token" not in properties:
        yield f"{bearer[0]} needs bearer.auth.token; add it"
    if not str(properties.get("bearer.auth.token", "")).isascii():
        yield "bearer.auth.token: put ASCII characters there"
    if properties.get("bearer.auth.credentials.source", _TOKEN) != _TOKEN:
        yield f"bearer.auth.credentials.source: only {_TOKEN} is supported; put it there"
    if properties.keys() & {"ssl.key.location", "ssl.key.password"} and "ssl.certificate.location" not in properties:
        yield "ssl.key.location and ssl.key.password need ssl.certificate.location; add it"
