"""Tokens: what a function may return, when it is asked, and what becomes of its failures; no secret is repeated."""

import json
import threading
import time
from collections import deque

import pytest
from confluent_kafka import KafkaError

from processor.errors import RetryError, StopError, UnreachableError, UsageError
from processor.kafka import tokens
from processor.kafka.failures import classify
from processor.kafka.tokens import TokenSource, token_function, token_of
from processor.settings import load
from tests.unit.test_settings import SECRET, refused

OAUTH = {"sasl.mechanisms": "OAUTHBEARER", "security.protocol": "SASL_SSL"}


def source(*answers):
    """Give a source whose function gives these answers in turn, the last one again and again, and raises errors."""
    left = deque(answers)

    def function(config):
        assert config == "of the tests"
        answer = left.popleft() if len(left) > 1 else left[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    return TokenSource("module:function", function, "of the tests")


def aged(asked, seconds):
    """Make a source's token older by so many seconds."""
    asked._got_s -= seconds
    asked._token = asked._token._replace(expires_s=asked._token.expires_s - seconds)
    return asked


def living(name, left_s=100.0):
    """Give an answer: a token that lives for some seconds."""
    return name, time.time() + left_s


@pytest.mark.parametrize(
    "answer",
    [
        ("token", 4e9),
        ("token", 4_000_000_000, "principal"),
        ("a.b-c_d~e+f/g=", 4e9, "", {"logicalCluster": "lkc-1"}),
    ],
)
def test_what_confluent_kafka_takes_is_taken(answer):
    """Two to four values: token, expiry, principal, extensions."""
    assert token_of(answer)[: len(answer)] == answer


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (SECRET, "returned a value of type str"),
        (None, "returned a value of type NoneType"),
        ([SECRET, 4e9], "returned a value of type list"),
        ((SECRET,), "returned a tuple of 1"),
        ((SECRET, 4e9, "", {}, None), "returned a tuple of 5"),
        ((SECRET.encode(), 4e9), "returned a token that is no text of visible ASCII"),
        (("", 4e9), "returned a token that is no text of visible ASCII"),
        ((f"{SECRET}\n", 4e9), "returned a token that is no text of visible ASCII"),
        ((SECRET, "soon"), "returned an expiry that is no time in seconds"),
        ((SECRET, True), "returned an expiry that is no time in seconds"),
        ((SECRET, float("nan")), "returned an expiry that is no time in seconds"),
        ((SECRET, float("inf")), "returned an expiry that is no time in seconds"),
        ((SECRET, time.time() * 1000), "returned an expiry that is no time in seconds (milliseconds?)"),
        ((SECRET, 4e9, None), "returned a principal that is no text"),
        ((SECRET, 4e9, "", [SECRET]), "returned extensions that are no dict of letters to text"),
        ((SECRET, 4e9, "", {"auth": SECRET}), "returned extensions that are no dict of letters to text"),
        ((SECRET, 4e9, "", {"lkc-1": SECRET}), "returned extensions that are no dict of letters to text"),
        ((SECRET, 4e9, "", {"a": "\x01"}), "returned extensions that are no dict of letters to text"),
    ],
)
def test_another_answer_is_refused_with_what_to_return(answer, says):
    """At the start it ends the program; none of it is repeated."""
    with pytest.raises(UsageError) as refusal:
        source(answer).require(0)
    line = str(refusal.value)
    assert line.startswith(f"setting kafka_token: module:function {says}")
    assert "let it return (token, expiry in seconds since 1970)" in line
    assert SECRET not in line


def test_a_young_token_serves_all_clients_and_an_older_one_none():
    """One call for the clients that a process has at its start; whoever asks again later gets a new token."""
    asked = source(living("first", 1000), living("second", 1000))
    assert [asked().value, asked(None).value, asked("of the client").value] == ["first"] * 3
    assert aged(asked, 300)().value == "second"


def test_clients_are_told_to_ask_early():
    """A client asks again after 80% of what it is told: here after half of the token's life."""
    (told_s,) = {asked.expires_s - time.time() for asked in [source(living("token", 100))()]}
    assert 0.4 < 0.8 * told_s / 100 < 0.5


def test_the_present_token_serves_while_the_function_fails():
    """The client asks again in ten seconds, the failure is logged, and told without the error's own text."""
    asked = source(living("token", 1000), ValueError(SECRET))
    asked.require(0)
    token = aged(asked, 400)()
    assert token.value == "token"
    assert 9 < 0.8 * (token.expires_s - time.time()) < 10.1
    failure = str(asked._failure)
    assert failure.startswith("setting kafka_token: module:function raised ValueError in test_token_source.py:")
    assert SECRET not in failure
    assert asked.trouble() is None
    asked.require(0)


def test_token_about_to_expire_may_be_refused_while_the_function_fails():
    """A broker's clock may be a second ahead; without a failure its refusal is the credentials' fault."""
    asked = source(living("token", 100), ValueError(SECRET))
    asked.require(0)
    assert aged(asked, 60).trouble() is None
    assert asked().value == "token", "the present one serves, and the next attempt failed"
    assert asked.trouble() is None
    assert "raised ValueError" in str(aged(asked, 39).trouble())


def test_without_a_valid_token_a_later_client_is_a_retry():
    """The program waits, as for a broker that is away."""
    asked = source(living("token"), ValueError(SECRET))
    asked.require(0)
    assert asked.trouble() is None
    assert aged(asked, 100).trouble() == "setting kafka_token: module:function gave a token late"
    with pytest.raises(RetryError, match=r"raised ValueError in test_token_source\.py"):
        asked.require(0)


def test_without_a_first_token_the_start_ends():
    """It is a service that does not answer: exit code 3."""
    with pytest.raises(UnreachableError, match="no token within 0 s: see that the function works") as failure:
        source(SystemExit(SECRET)).require(0)
    assert SECRET not in str(failure.value)
    with pytest.raises(UnreachableError, match="gave a token that expired 7 s ago"):
        source(living("old", -7)).require(0)


def test_a_function_that_hangs_is_left_alone(monkeypatch):
    """It is called once; whoever asks meanwhile waits for that call, and gets its answer if it comes."""
    monkeypatch.setattr(tokens, "_CALL_S", 0.05)
    calls, go_on = [], threading.Event()

    def hanging(config):
        calls.append(config)
        go_on.wait(10)
        return living("late")

    asked = TokenSource("module:function", hanging, "")
    for _ in range(2):
        with pytest.raises(RetryError, match=r"did not return within 0\.05 s"):
            asked()
    go_on.set()
    monkeypatch.setattr(tokens, "_CALL_S", 10)
    assert asked().value == "late"
    assert calls == [""]


def test_threads_that_ask_at_once_share_one_call():
    """Each client asks on a thread of its own, at about the same time."""
    calls, all_ask = [], threading.Event()

    def slow(_config):
        all_ask.wait(10)
        calls.append(1)
        return living("token")

    asked = TokenSource("module:function", slow, "")
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(asked().value)) for _ in range(4)]
    for thread in threads:
        thread.start()
    all_ask.set()
    for thread in threads:
        thread.join(10)
    assert (found, len(calls)) == (["token"] * 4, 1)


def test_a_login_that_is_refused_for_want_of_a_token_is_a_retry(monkeypatch):
    """Another refusal asks for an operator."""
    refusal = KafkaError(KafkaError._AUTHENTICATION, "invalid_token")
    assert isinstance(classify(refusal, "reading"), StopError)
    asked = source(living("token"), ValueError(SECRET), living("another"))
    asked.require(0)
    monkeypatch.setitem(tokens._sources, ("module:function", ""), asked)
    assert isinstance(classify(refusal, "reading"), StopError)
    aged(asked, 100)
    with pytest.raises(RetryError):
        asked()
    assert isinstance(found := classify(refusal, "reading"), RetryError)
    assert "; setting kafka_token: module:function raised ValueError in " in str(found)
    assert asked().value == "another"
    assert isinstance(classify(refusal, "reading"), RetryError)  # it may be of the token before


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no_such_module:f", "no_such_module cannot be imported: there is no module no_such_module; put a module"),
        ("tests.no_such:f", "tests.no_such cannot be imported: there is no module tests.no_such; put a module"),
        ("tests.support.raising_at_import:f", "cannot be imported: ZeroDivisionError in raising_at_import.py:"),
        ("tests.support.token_functions:no_such", "tests.support.token_functions has no function no_such; put the"),
        ("tests.support.token_functions:json", "tests.support.token_functions has no function json; put the"),
    ],
)
def test_a_name_of_no_function_is_refused(name, says):
    """The line names what is missing."""
    with pytest.raises(UsageError, match="setting kafka_token: ") as refusal:
        token_function(name)
    assert says in str(refusal.value)


@pytest.mark.parametrize("name", ["module:function", "folder.module:function", "_m1:F_2"])
def test_a_name_of_the_right_form_is_taken(name):
    """Whether there is such a function is asked by the first client."""
    variables = {"ORDER_FACTS_KAFKA": json.dumps(OAUTH), "ORDER_FACTS_KAFKA_TOKEN": name}
    assert load({}, None, variables).kafka_token == name


@pytest.mark.parametrize(
    "name", ["", "function", "module:", ":function", "a module:f", "module:f:g", "m:f()", "a/b.py:f"]
)
def test_a_name_of_another_form_is_refused(name):
    """It is known before Python looks for a module."""
    line = refused({"kafka_token": name, "kafka": json.dumps(OAUTH)})
    assert line == f"setting kafka_token: it is {name!r}; put module:function there, such as order_tokens:msk"


@pytest.mark.parametrize(
    ("kafka", "line"),
    [
        ({}, "kafka_token: the setting kafka does not ask for tokens; put sasl.mechanisms=OAUTHBEARER and "),
        ({"sasl.mechanism": "OAUTHBEARER"}, "kafka_token: the setting kafka does not ask for tokens; put "),
        ({**OAUTH, "security.protocol": "SSL"}, "kafka_token: the setting kafka does not ask for tokens; put "),
        ({**OAUTH, "sasl.mechanisms": "PLAIN"}, "kafka_token: the setting kafka does not ask for tokens; put "),
        (
            {**OAUTH, "sasl.oauthbearer.method": "oidc"},
            "kafka_token: sasl.oauthbearer.method=oidc in the setting kafka ",
        ),
        (
            {**OAUTH, "enable.sasl.oauthbearer.unsecure.jwt": True},
            "kafka_token: enable.sasl.oauthbearer.unsecure.jwt=True in the setting kafka gives tokens too; remove one ",
        ),
    ],
)
def test_a_function_that_the_setting_kafka_has_no_use_for_is_refused(kafka, line):
    """One of the two settings is a mistake."""
    assert refused({"kafka_token": "module:function", "kafka": json.dumps(kafka)}).startswith(f"setting {line}")


def test_oauthbearer_without_a_source_of_tokens_is_refused():
    """The client would wait for a token for ever."""
    line = refused({"kafka": json.dumps(OAUTH)})
    assert line == (
        "setting kafka: sasl.mechanisms=OAUTHBEARER needs the setting kafka_token, or sasl.oauthbearer.method=oidc"
    )
