"""The bounds of a request to a schema registry: time, size, addresses, and what an error repeats."""

import contextlib
import socket
import time

import pytest

from deploy.local.servers import HOST, free_ports
from processor.errors import RegistryError, RegistryRefusesError, SchemaRefusedError, UsageError
from processor.registry.client import Registry
from processor.registry.framing import prefix_of
from processor.settings import Settings
from tests.support.scripted_registry import ScriptedRegistry, answer

SECRET = "hunter2-hunter2"
MISSING = answer(404, {"error_code": 40401, "message": "no subject"})


@pytest.fixture
def scripted():
    """Give the function that starts a scripted registry."""
    with contextlib.ExitStack() as stack:

        def start(*answers, **options):
            started = ScriptedRegistry(*answers, **options)
            stack.callback(started.close)
            return started

        yield start


def registry(*addresses, patience_s=0.0, **properties):
    """Give the client of some addresses."""
    return Registry(Settings(schema_registry_url=",".join(addresses), schema_registry=properties), patience_s)


def failure(*addresses, kind=RegistryError, **properties):
    """Ask for a level, which has to fail; give the line that says why."""
    with pytest.raises(kind) as error:
        registry(*addresses, **properties).level("orders-value")
    line = str(error.value)
    assert "\n" not in line
    assert SECRET not in line
    return line


def test_a_silent_registry_is_left_in_time(scripted):
    """A registry that takes the connection and says nothing ends the request, as one that waits for its service."""
    begun = time.monotonic()
    assert "did not answer within 0.3 s" in failure(scripted(None).url, timeout=0.3)
    assert time.monotonic() - begun < 3
    assert RegistryError.waiting_for == "schema_registry"


def test_a_name_with_silent_addresses_is_left_in_time(monkeypatch):
    """All addresses of a name share the time of the request, also where none of them takes a connection."""
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(contextlib.closing(socket.create_server((HOST, 0), backlog=0)))
        for _ in range(4):  # more than it lets wait: whoever comes next hears nothing
            waiting = stack.enter_context(contextlib.closing(socket.socket()))
            waiting.settimeout(0)
            waiting.connect_ex(full.getsockname())
        found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", full.getsockname())] * 5
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        begun = time.monotonic()
        assert "did not answer within 1 s" in failure("http://registry.example", timeout=1)
        assert time.monotonic() - begun < 3


def test_a_schema_that_repeats_a_credential_does_not_show_it(scripted):
    """What is said of a schema stands in rejected records."""
    server = scripted(answer(200, {"schema": "{}", "schemaType": f"of {SECRET}"}))
    asked = registry(server.url, **{"bearer.auth.token": SECRET})
    assert asked.writer(prefix_of(7), 0, lambda: None).refusal == "it is of type of ***, not AVRO"


@pytest.mark.parametrize("text", [answer(200, {"compatibilityLevel": "FULL"}), b"X" * 1000])
def test_a_dripping_registry_is_left_in_time(scripted, text):
    """The time is that of the whole request: a byte now and then does not prolong it."""
    begun = time.monotonic()
    assert "did not answer within 0.5 s" in failure(scripted(text, drip_s=0.1).url, timeout=0.5)
    assert time.monotonic() - begun < 3


@pytest.mark.parametrize(
    "text",
    [
        answer(200, "x" * 1_000_000),
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1_000_000,
        b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"x" * 1_000_000,
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"x" * 60_000) for n in range(20)),
        b"HTTP/1.1 100 Continue\r\n\r\n" * 40_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"2000\r\n" + b"x" * 8192 + b"\r\n") * 100,
    ],
    ids=["body", "body without length", "line", "headers", "continue", "chunks"],
)
def test_no_more_than_a_bound_of_an_answer_is_read(scripted, text):
    """Whatever is too long, a body, its chunks or a header, the client leaves before it is over."""
    server = scripted(text)
    assert "does not answer" in failure(server.url)
    assert "more than 128 KiB" in failure(server.url) or b"X-" in text


def test_a_redirect_is_not_followed(scripted):
    """Only configured addresses are asked, and get the credentials: where a redirect leads, nobody asks."""
    elsewhere = scripted(answer(200, {"compatibilityLevel": "FULL"}))
    server = scripted(answer(302, "", f"Location: {elsewhere.url}/config/orders-value"))
    line = failure(server.url, **{"basic.auth.user.info": f"user:{SECRET}"})
    assert "does not answer as a schema registry: 302" in line
    assert elsewhere.requests == []


def test_a_proxy_of_the_environment_is_not_asked(scripted, monkeypatch):
    """A proxy would see the credentials."""
    proxy = scripted(answer(200, {"compatibilityLevel": "FULL"}))
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("ALL_PROXY", proxy.url)
    assert registry(scripted(MISSING).url).level("orders-value") is None
    assert proxy.requests == []


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(
    ("properties", "sent"),
    [
        ({"basic.auth.user.info": f"user:{SECRET}"}, "Authorization: Basic dXNlcjpodW50ZXIyLWh1bnRlcjI="),
        ({"bearer.auth.token": SECRET, "bearer.auth.logical.cluster": "lsrc-1"}, f"Authorization: Bearer {SECRET}"),
    ],
)
def test_credentials_are_sent_and_never_repeated(scripted, status, properties, sent):
    """A registry that repeats what it got, in any form, does not bring a credential into the error."""
    said = f"you sent user:{SECRET} as {SECRET}, dXNlcjpodW50ZXIyLWh1bnRlcjI=\nand\x1b[2J more"
    server = scripted(answer(status, {"error_code": status, "message": said}))
    line = failure(server.url, kind=RegistryRefusesError, **properties)
    assert sent.rpartition(" ")[2] not in line
    assert line.startswith(f"the schema registry at {server.url} refuses the program ({status}: you sent ")
    assert "setting schema_registry" in line
    assert line.isprintable()
    assert sent in server.requests[0].split("\r\n")
    assert ("target-sr-cluster: lsrc-1" in server.requests[0]) == ("bearer.auth.token" in properties)


@pytest.mark.parametrize(
    "text",
    [
        *(answer(status, {"error_code": status, "message": "busy"}) for status in (400, 405, 408, 429, 500, 503)),
        *(answer(200, "<html>"), answer(200, "17"), answer(200, {}), answer(200, "[" * 50_000), answer(204)),
        *(answer(404, "<html>"), answer(404, {"error_code": 404, "message": "HTTP 404 Not Found"})),
        *(b"", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{}", b"\x16\x03\x01\x02", b"HTTP/9 x\r\n\r\n"),
    ],
)
def test_what_is_not_a_registrys_answer_waits(scripted, text):
    """Errors that pass, a wrong address (its 404 is no registry's), a torn answer: no schema is unknown by that."""
    server = scripted(text)
    assert server.url in failure(server.url) or "schema registry answers without" in failure(server.url)


@pytest.mark.parametrize("status", [409, 422])
def test_what_the_registry_refuses_ends_a_command(scripted, status):
    """Waiting would not change its mind; its reason is in the line."""
    server = scripted(answer(status, {"error_code": status, "message": "field x has no default"}))
    assert "field x has no default" in failure(server.url, kind=SchemaRefusedError)


@pytest.mark.parametrize("first", [None, answer(503, {"error_code": 503}), answer(429), answer(408), b""])
def test_the_next_address_is_asked_where_one_fails(scripted, first):
    """Several nodes stand for one registry; what one does not answer, the next does."""
    servers = scripted(first), scripted(answer(200, {"compatibilityLevel": "FULL"}))
    (closed,) = free_ports(1)
    asked = registry(f"http://{HOST}:{closed}", *(server.url for server in servers), timeout=0.5)
    assert asked.level("orders-value") == "FULL"


def test_patience_outlasts_a_failure(scripted):
    """A command waits for a registry that is just starting."""
    server = scripted(answer(503), answer(503), answer(200, {"compatibilityLevel": "FULL"}))
    assert registry(server.url, patience_s=30).level("orders-value") == "FULL"
    assert len(server.requests) == 3


@pytest.mark.parametrize("text", [answer(302), answer(404, "<html>"), answer(200, "<html>"), answer(400, {})])
def test_patience_is_not_for_what_is_no_registry(scripted, text):
    """A wrong address does not become a registry by waiting: the command says so at once."""
    server = scripted(text)
    with pytest.raises(RegistryError, match="does not answer as a schema registry"):
        registry(server.url, patience_s=30).level("orders-value")
    assert len(server.requests) == 1


def test_a_path_of_the_address_is_kept_and_a_subject_quoted(scripted):
    """Registries live under paths, and a topic's name is any text to them."""
    server = scripted(MISSING)
    registry(f"{server.url}/apis/ccompat/v7/").versions("a/b c-value")
    assert server.requests[0].startswith("GET /apis/ccompat/v7/subjects/a%2Fb%20c-value/versions HTTP/1.1\r\n")


def test_a_plain_listener_behind_https_says_so():
    """A mixed-up scheme is an error with the address, not a hang."""
    with socket.create_server((HOST, 0)) as listener:
        address = f"https://{HOST}:{listener.getsockname()[1]}"
        assert address in failure(address, timeout=0.3)


@pytest.mark.parametrize("name", ["ssl.ca.location", "ssl.certificate.location"])
def test_a_file_that_cannot_be_used_names_its_property(name, tmp_path):
    """At the start, and without asking for a password on the terminal."""
    for path in (tmp_path / "missing.pem", tmp_path / "empty.pem"):
        with pytest.raises(UsageError, match=rf"^setting schema_registry: {name}: "):
            registry("https://localhost:1", **{name: str(path)})
        (tmp_path / "empty.pem").touch()
