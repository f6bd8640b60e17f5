"""The forms of `redis_url`, what is refused of them, and the file that it may come from."""

import pytest

from processor.errors import RedisError, UsageError
from processor.settings import Settings, load
from processor.settings.redis_address import BadAddressError, RedisAddress, parse_redis_url
from processor.state.connection import _PasswordInFile, connect

SECRET = "hunter2-hunter2"
V6 = (("::1", 7000), ("fe80::1", 6379))


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("redis://", RedisAddress("server", (("localhost", 6379),))),
        ("redis://h", RedisAddress("server", (("h", 6379),))),
        ("REDIS://h:1/2", RedisAddress("server", (("h", 1),), db=2)),
        ("redis://h?db=3", RedisAddress("server", (("h", 6379),), db=3)),
        ("redis://u%40:p%5B%2F@h:1", RedisAddress("server", (("h", 1),), username="u@", password="p[/")),
        ("redis://:p@h", RedisAddress("server", (("h", 6379),), password="p")),
        ("redis://[::1]:7000/0", RedisAddress("server", V6[:1])),
        ("rediss://h", RedisAddress("server", (("h", 6379),), tls={})),
        (
            "rediss://h?ssl_ca_certs=/a%20b.pem&ssl_check_hostname=no",
            RedisAddress("server", (("h", 6379),), tls={"ssl_ca_certs": "/a b.pem", "ssl_check_hostname": False}),
        ),
        ("unix:///run/redis.sock", RedisAddress("server", (), "/run/redis.sock")),
        ("unix://u:p@/run/r?db=4", RedisAddress("server", (), "/run/r", db=4, username="u", password="p")),
        ("redis+sentinel://a/main", RedisAddress("sentinel", (("a", 26379),), primary="main")),
        (
            "rediss+sentinel://u:p@a:1,b:2/my%20main/3?sentinel_username=s&sentinel_password=t%23",
            RedisAddress(
                "sentinel",
                (("a", 1), ("b", 2)),
                primary="my main",
                db=3,
                username="u",
                password="p",
                sentinel_username="s",
                sentinel_password="t#",
                tls={},
            ),
        ),
        ("redis+cluster://[::1]:7000,[fe80::1]", RedisAddress("cluster", V6)),
        (
            "rediss+cluster://u:p@a,b:2/0",
            RedisAddress("cluster", (("a", 6379), ("b", 2)), username="u", password="p", tls={}),
        ),
    ],
)  # fmt: skip
def test_what_an_address_says(url, found):
    """One server, a socket, Sentinels, a Cluster; with credentials, a database and TLS."""
    assert parse_redis_url(url) == found
    assert load({"redis_url": url}, None, {}).redis_url == url
    connect(Settings(redis_url=url)).close()  # the client takes all of it


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("", "it is not an address; begin with redis://, rediss:// (TLS), unix://, redis+sentinel:// or redis+cluster://"),
        ("localhost:6379", "it is not an address; begin with"),
        (f"//{SECRET}", "it is not an address; begin with"),
        (SECRET, "it is not an address; begin with"),
        (f"http://u:{SECRET}@h", "put an address that begins with redis://"),
        (f"redis+other://u:{SECRET}@h", "put an address that begins with redis://"),
        (f"unix+cluster://u:{SECRET}@h", "put an address that begins with redis://"),
        (f"redis://u:{SECRET}[@h:x:1", "put host or host:port there, an IPv6 address in brackets, "),
        (f"redis://u:{SECRET}@h:70000", "the port is not a number from 0 to 65535"),
        (f"redis://u:{SECRET}@h:x", "the port is not a number from 0 to 65535"),
        (f"redis://u:{SECRET}@h/x", "put the number of a database after the address, such as /0"),
        (f"redis://u:{SECRET}@h/1/2", "put the number of a database after the address, such as /0"),
        (f"redis://u:{SECRET}/x@h", "an @ stands behind the hosts; write special characters of the password as %XX"),
        (f"redis://:{SECRET}?{SECRET}@h:6379/0", "an @ stands behind the hosts; write special characters of the "),
        (f"redis+sentinel://u:1234/{SECRET}@a/main", "an @ stands behind the hosts; write special characters of the "),
        (f"redis://h?{SECRET}", "unknown option; known are db"),
        ("redis://a..b", "a host has an empty or too long part between its dots"),
        ("redis://@h", "before the @ stand no credentials; put user:password there, or remove the @"),
        (f"redis://u:{SECRET}@a,b", "several hosts need redis+sentinel:// or redis+cluster://; name one host"),
        (f"redis+sentinel://u:{SECRET}@a,b", "put the primary's name behind the Sentinels, such as "),
        (f"redis+sentinel://u:{SECRET}@a,,b/main", "a host is empty; put host or host:port there, several by commas"),
        (f"redis+sentinel://u:{SECRET}@a/main/x", "put the number of a database after the address, such as /0"),
        (f"redis+cluster://u:{SECRET}@a/1", "a Redis Cluster is used by its database 0; remove the number "),
        ("redis+cluster://", "a host is empty; put host or host:port there, several by commas"),
        ("unix://", "put the path of a socket there, unix:///path/to/redis.sock"),
        ("unix://h/x", "put the path of a socket there, unix:///path/to/redis.sock"),
        ("redis://h?retries=3", "unknown option retries; known are db"),
        ("redis://h?ssl_ca_certs=/x", "the option ssl_ca_certs needs TLS; begin the address with rediss"),
        (f"redis://h?sentinel_password={SECRET}", "the option sentinel_password needs Sentinels; begin "),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_address(url, line):
    """One line says what to do, and repeats no part that may be a password."""
    with pytest.raises(BadAddressError) as refused:
        parse_redis_url(url)
    assert str(refused.value).startswith(line)
    assert SECRET not in str(refused.value)
    with pytest.raises(UsageError, match=r"^setting redis_url: "):
        load({"redis_url": url}, None, {})


@pytest.mark.parametrize(
    ("url", "place"),
    [
        (f"redis://u:{SECRET}@h:1/2", "redis://h:1/2"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock"),
        (f"rediss+sentinel://a,[::1]:2/main?sentinel_password={SECRET}", "rediss+sentinel://a:26379,[::1]:2/main/0"),
        (f"redis+cluster://:{SECRET}@a,b:2", "redis+cluster://a:6379,b:2"),
    ],
)
def test_the_place_is_told_without_secrets(url, place):
    """What `check` and refusals may show."""
    assert parse_redis_url(url).place == place


def test_an_address_in_a_file_is_read_anew_for_each_connection(tmp_path):
    """A changed password counts at once; a file that cannot be read is waited for, and is never the end."""
    file = tmp_path / "address"
    file.write_text("redis://u:first@h\n")
    settings = load({"redis_url_file": str(file)}, None, {})
    assert (settings.redis_url, settings.redis_url_file) == ("redis://u:first@h", str(file))
    credentials = _PasswordInFile(str(file))
    assert credentials.get_credentials() == ("u", "first")
    file.write_text("redis://:second@h")
    assert credentials.get_credentials() == ("second",)
    file.write_text("redis://h")
    assert credentials.get_credentials() == ()
    file.write_text("http://:second@h")
    with pytest.raises(RedisError, match=r"^setting redis_url_file: .*: put an address that begins with"):
        credentials.get_credentials()
    file.unlink()
    with pytest.raises(RedisError, match=r"^setting redis_url_file: .*No such file"):
        credentials.get_credentials()


def test_the_address_or_its_file(tmp_path):
    """A stronger source's address replaces a weaker one's file and the other way round; one source names one."""
    file = tmp_path / "address"
    file.write_text("redis://of-file")
    of_file = {"ORDER_FACTS_REDIS_URL_FILE": str(file)}
    assert load({}, None, of_file).redis_url == "redis://of-file"
    found = load({"redis_url": "redis://option"}, None, of_file)
    assert (found.redis_url, found.redis_url_file) == ("redis://option", None)
    assert load({"redis_url_file": str(file)}, None, {"ORDER_FACTS_REDIS_URL": "redis://variable"}).redis_url_file
    with pytest.raises(UsageError, match=r"settings redis_url and redis_url_file contradict: set one of them"):
        load({}, None, {**of_file, "ORDER_FACTS_REDIS_URL": "redis://variable"})
    with pytest.raises(UsageError, match=r"setting redis_url_file: .*No such file"):
        load({"redis_url_file": str(tmp_path / "missing")}, None, {})
