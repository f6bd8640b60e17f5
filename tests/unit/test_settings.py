"""Settings: which source wins, how each mistake is told, and that no secret is ever repeated."""

import json
import re
from typing import Any

import pytest

from processor.errors import UsageError
from processor.settings import (
    ENVIRONMENT_PREFIX,
    SECRETS,
    IdentificationRule,
    Settings,
    description,
    load,
)

NAMES = Settings.__struct_fields__
SECRET = "hunter2-hunter2-hunter2"
# The settings that the guarantee and the rules rest on, and their defaults.
DEFAULTS: dict[str, Any] = {
    "bootstrap_servers": "localhost:9092",
    "redis_url": "redis://localhost:6379/0",
    "group_id": "order-facts",
    "events_topic": "order-events",
    "contacts_topic": "contacts",
    "facts_topic": "order-facts",
    "rejected_topic": "order-events-rejected",
    "healed_topic": "order-events-healed",
    "segment_members_topic": "segment-members",
    "wire_format": "single-object",
    "schema_registry_url": None,
    "schema_registry": {},
    "max_event_bytes": 1_048_576,
    "max_fact_bytes": 900_000,
    "time_zone": "UTC",
    "default_currency": None,
    "item_profile": "lenient",
    "statuses": {},
    "identification": (),
    "phone_matching": "digits",
    "phone_region": None,
    "on_owner_conflict": "reject",
    "on_duplicate_create": "ignore",
    "on_null": "ignore",
    "kafka": {},
    "kafka_token": None,
    "identifier_key": None,
    "partitions": 6,
    "startup_timeout_s": 60.0,
    "log_format": "json",
    "log_profile": "default",
    "log_stream": "stderr",
    "log_level": "info",
}


def environment(**values):
    """Give an environment that sets these settings."""
    return {ENVIRONMENT_PREFIX + name.upper(): value for name, value in values.items()}


def refused(command_line=None, config=None, variables=None):
    """Load settings that have to be refused; give the line that says why."""
    with pytest.raises(UsageError) as error:
        load(command_line or {}, config, variables or {})
    line = str(error.value)
    assert "\n" not in line
    assert SECRET not in line
    assert error.value.exit_code == 2
    return line


@pytest.fixture
def config(tmp_path):
    """Give a function that writes a configuration file."""

    def write(text):
        file = tmp_path / "order-facts.toml"
        file.write_text(text, encoding="utf-8")
        return file

    return write


def test_without_any_source_the_defaults_hold():
    """A deployment that sets nothing gets the public defaults; the instance is named after the host."""
    settings = load({}, None, {})
    assert {name: getattr(settings, name) for name in DEFAULTS} == DEFAULTS
    assert settings.instance_id
    assert settings == Settings()


def test_the_command_line_wins_over_the_environment_over_the_file(config):
    """Each source takes precedence over the next, setting by setting."""
    file = config('group_id = "file"\nmax_batch = 1\ntime_zone = "Europe/Kyiv"\n')
    variables = environment(group_id="environment", max_batch="2")
    settings = load({"group_id": "option"}, file, variables)
    assert (settings.group_id, settings.max_batch, settings.time_zone) == ("option", 2, "Europe/Kyiv")
    assert load({}, file, variables).group_id == "environment"
    assert load({}, file, {}).group_id == "file"
    assert load({}, None, {}).group_id == "order-facts"


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_explained(name):
    """`--help` and every refusal can say what a setting is for."""
    assert len(description(name)) > 10


@pytest.mark.parametrize(
    "name",
    sorted(
        {*NAMES}
        - {"kafka", "kafka_token", "identification", "statuses", "schema_registry", "wire_format", "redis_url_file"}
    ),
)
def test_every_setting_is_read_from_every_source(name, config, tmp_path):
    """The command line, a variable, a variable's file and the configuration file all give the same value."""
    examples = {
        "redis_url": "rediss://cache.example:6380/1",
        "redis_eviction": "trusted",
        "schema_registry_url": "https://registry.example",
        "max_batch": 17,
        "max_event_bytes": 1000,
        "max_fact_bytes": 2000,
        "time_zone": "Asia/Kathmandu",
        "default_currency": "eur",
        "item_profile": "strict",
        "phone_matching": "exact",
        "phone_region": "UA",
        "on_owner_conflict": "reassign",
        "on_duplicate_create": "update",
        "on_null": "clear",
        "identifier_key": SECRET,
        "occurred_at_parameter": "occurredAt",
        "fact_version": 1,
        "breaker_action": "pause",
        "breaker_max_invalid_ratio": 0.25,
        "contacts_max_age_s": 12.5,
        "http_host": "127.0.0.1",
        "log_format": "console",
        "log_level": "debug",
        "log_profile": "ecs",
        "log_stream": "stdout",
    }
    default = getattr(Settings(), name)
    value = examples.get(name, f"my.{name}" if isinstance(default, str) else type(default or 0)(7))
    held = tmp_path / "value"
    held.write_text(f"{value}\n", encoding="utf-8")
    by_source = [
        load({name: str(value)}, None, {}),
        load({name: value}, None, {}),
        load({}, None, environment(**{name: str(value)})),
        load({}, None, environment(**{f"{name}_file": str(held)})),
        load({}, config(f"{name} = {json.dumps(value)}"), {}),
    ]
    assert [getattr(settings, name) for settings in by_source] == [value] * 5
    assert value != default


def test_tables_are_json_where_only_texts_are_possible(config):
    """`kafka`, `identification` and `statuses` are JSON as options and variables, and tables in the file."""
    rules = (IdentificationRule("token", "loyaltyToken"), IdentificationRule("Mail", "email"))
    rule_list = [{"parameter": "token", "field": "loyaltyToken"}, {"parameter": "Mail", "field": "email"}]
    properties = {"security.protocol": "sasl_ssl", "linger.ms": 5, "fetch.wait.max.ms": 1.5, "check.crcs": True}
    file = config(
        '[[identification]]\nparameter = "token"\nfield = "loyaltyToken"\n'
        '[[identification]]\nparameter = "Mail"\nfield = "email"\n'
        '[kafka]\n"security.protocol" = "sasl_ssl"\n"linger.ms" = 5\n"fetch.wait.max.ms" = 1.5\n"check.crcs" = true\n'
    )
    statuses = {"Оплачено": "IN_PROGRESS", "wc-completed": "DELIVERED"}
    with file.open("a", encoding="utf-8") as stream:
        stream.write('[statuses]\n"Оплачено" = "IN_PROGRESS"\nwc-completed = "DELIVERED"\n')
    tables = {"identification": rule_list, "kafka": properties, "statuses": statuses}
    texts = {name: json.dumps(table) for name, table in tables.items()}
    for settings in (load(texts, None, {}), load({}, None, environment(**texts)), load({}, file, {})):
        assert settings.identification == rules
        assert settings.kafka == properties
        assert settings.statuses == statuses
        assert [type(value) for value in settings.kafka.values()] == [str, int, float, bool]


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_a_secret_may_come_from_a_file(tmp_path, ending):
    """A mounted secret is taken without the line end that editors leave, and is otherwise exact."""
    secret = tmp_path / "key"
    secret.write_bytes(f" {SECRET} {ending}".encode())
    assert load({}, None, environment(identifier_key_file=str(secret))).identifier_key == f" {SECRET} "


def test_a_secrets_file_that_cannot_be_read_is_named(tmp_path):
    """The line names the variable and the path."""
    missing = tmp_path / "missing"
    line = refused(variables=environment(identifier_key_file=str(missing)))
    assert line.startswith("ORDER_FACTS_IDENTIFIER_KEY_FILE: ")
    assert str(missing) in line


def test_a_value_and_a_file_for_one_setting_contradict(tmp_path):
    """Neither of the two is preferred silently; also where both say the same."""
    secret = tmp_path / "key"
    secret.write_text(SECRET)
    line = refused(variables=environment(identifier_key=SECRET, identifier_key_file=str(secret)))
    assert line == "ORDER_FACTS_IDENTIFIER_KEY_FILE and ORDER_FACTS_IDENTIFIER_KEY contradict: set one of them"


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [("group_ids", "group_id"), ("timezone", "time_zone"), ("bootstrap_server", "bootstrap_servers")],
)
def test_an_unknown_setting_is_refused_with_the_nearest(config, wrong, nearest):
    """A misspelt setting is never ignored, wherever it stands."""
    file = config(f'{wrong} = "x"')
    assert refused(config=file) == f"{file}: unknown setting {wrong}; did you mean {nearest}?"
    variable = f"ORDER_FACTS_{wrong.upper()}"
    assert refused(variables={variable: "x"}) == f"unknown setting {variable}; did you mean {nearest}?"
    assert refused(variables={f"{variable}_FILE": __file__}).startswith(f"unknown setting {variable}_FILE")


def test_variables_that_are_none_of_the_programs_are_left_alone():
    """Other prefixes, and those of the tests' own services, are no settings."""
    variables = {"ORDER_FACTS_TEST_REDIS_URL": "redis://x", "HOME": "/", "ORDER_FACT_GROUP_ID": "x", "GROUP_ID": "x"}
    assert load({}, None, variables) == Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("max_batch", value) for value in ("0", "-1", "100001", "many", "1.5", "")),
        *(("max_event_bytes", value) for value in ("0", str((64 << 20) + 1), "1MiB")),
        *(("max_fact_bytes", value) for value in ("0", str((64 << 20) + 1))),
        *(("partitions", value) for value in ("0", "10001")),
        *(("startup_timeout_s", value) for value in ("0", "-1", "nan", "soon")),
        *(("bootstrap_servers", ""), ("bootstrap_servers", "a b"), ("group_id", ""), ("instance_id", "a\tb")),
        *(("events_topic", ""), ("events_topic", "a/b"), ("facts_topic", "x" * 250), ("rejected_topic", "тема")),
        *(("wire_format", "avro"), ("item_profile", "loose"), ("on_owner_conflict", "Reject")),
        *(("on_duplicate_create", "replace"), ("log_format", "text"), ("log_level", "INFO")),
        *(("log_profile", "datadog"), ("log_profile", ""), ("log_stream", "stderr,")),
        *(("identification", "token"), ("identification", "{}"), ("identification", '[{"parameter": "token"}]')),
        ("identification", '[{"parameter": "", "field": "email"}]'),
        ("identification", '[{"parameter": "token", "field": "email", "fields": 1}]'),
        *(
            ("statuses", "paid=IN_PROGRESS"),
            ("statuses", '["paid"]'),
            ("statuses", '{"paid": 1}'),
            ("statuses", "[" * 9999),
        ),
        ("statuses", '{"paid": "IN_PROGRESS", "done": "DELIVERED", "paid": "CANCELLED"}'),
        *(("kafka", '{"linger.ms": 5, "linger.ms": 6}'), ("identification", '[{"parameter": "a", "parameter": "b"}]')),
        *(("kafka", "linger.ms=5"), ("kafka", "[]"), ("kafka", '{"linger.ms": [5]}'), ("kafka", '{"a": null}')),
    ],
)
def test_a_wrong_value_is_refused_naming_setting_source_and_purpose(name, value, config):
    """Type and range are checked whatever the source, and the line says what the setting is for."""
    variable = ENVIRONMENT_PREFIX + name.upper()
    expected = {f"option --{name.replace('_', '-')}": ({name: value}, {}), variable: ({}, {variable: value})}
    for source, (command_line, variables) in expected.items():
        line = refused(command_line, None, variables)
        assert line.startswith(f"setting {name}, from {source}: ")
        assert line.endswith(description(name))


@pytest.mark.parametrize(
    "text",
    ['max_batch = "5"', "max_batch = 5.0", "group_id = 5", "startup_timeout_s = true", "kafka = '{}'", "kafka = 5"],
)
def test_the_file_is_typed(config, text):
    """A TOML file says what it means: a number in quotes is no number."""
    file = config(text)
    assert refused(config=file).startswith(f"setting {text.split(' = ')[0]}, from {file}: ")


def test_a_file_that_cannot_be_read_is_named(config, tmp_path):
    """Missing, broken and foreign files are told apart from a missing setting."""
    assert refused(config=tmp_path / "none.toml").startswith(f"--config {tmp_path / 'none.toml'}: ")
    broken = config("max_batch = ")
    assert refused(config=broken).startswith(f"--config {broken}: ")
    broken.write_bytes(b"\xff")
    assert refused(config=broken).startswith(f"--config {broken}: ")


@pytest.mark.parametrize(
    "zone", ["Mars/Olympus", "", "../../etc/passwd", "/etc/localtime", "Europe", "a\0b", "Europe/Kyiv "]
)
def test_a_time_zone_has_to_exist(zone):
    """The line shows a good name."""
    line = refused({"time_zone": zone})
    assert line.startswith("setting time_zone: ")
    assert "Europe/Kyiv" in line


@pytest.mark.parametrize(
    ("name", "others", "problem"),
    [
        *((name, {}, "already has another meaning") for name in ("externalOrderId", "date", "items", "currencyCode")),
        *((name, {}, "already has another meaning") for name in ("firstName", "PHONE", "contact_ID", "pushToken")),
        ("shop", {"identification": '[{"parameter": "Shop", "field": "shop"}]'}, "already has another meaning"),
        ("occurredAt", {"fact_version": "1"}, "facts of fact_version=1 have no field for it"),
    ],
)
def test_the_parameter_of_an_events_time_is_one_of_its_own(name, others, problem):
    """D25: no name that another rule reads, and no version of facts that cannot hold the time."""
    told = refused({"occurred_at_parameter": name, **others})
    assert told.startswith("setting occurred_at_parameter: ")
    assert problem in told
    assert load({"occurred_at_parameter": "Date"}, None, {}).occurred_at_parameter == "Date"


@pytest.mark.parametrize(
    ("statuses", "told"),
    [
        ({"delivered": "CANCELLED"}, "'delivered' is a status itself; remove it"),
        ({"paid": "IN_PROGRESS", " In_Progress\u2003": "IN_PROGRESS"}, "is a status itself; remove it"),
        ({"paid": "IN_PROGRESS", " PAID": "IN_PROGRESS"}, "' PAID' is there twice, since case and outer spaces"),
        ({"ЇЖАК": "CANCELLED", "їжак": "DELIVERED"}, "'їжак' is there twice"),
        ({"paid": "in_progress"}, "'paid' is mapped to 'in_progress'; put one of INITIALIZED, IN_PROGRESS, "),
        ({"paid": "PAID"}, "'paid' is mapped to 'PAID'; put one of "),
        ({"": "CANCELLED"}, "no status can be '', which counts as absent; remove it"),
        ({" Null ": "CANCELLED"}, "no status can be ' Null ', which counts as absent; remove it"),
    ],
)
def test_a_shops_own_words_have_one_meaning(statuses, told):
    """A word that is there twice, redefines a status or maps to none is refused at the start (D7)."""
    line = refused({"statuses": json.dumps(statuses)})
    assert line.startswith("setting statuses: ")
    assert told in line


def test_no_replica_has_the_name_of_the_replay():
    """Both would have one transactional id, and each would fence the other."""
    assert refused({"instance_id": "replay"}).startswith("setting instance_id: replay is the name of `rejected replay`")


@pytest.mark.parametrize("currency", ["EU", "EURO", "E1R", "", "\u0415UR", "EUR "])
def test_a_default_currency_has_three_letters(currency):
    """As an event's own currency (D9)."""
    assert refused({"default_currency": currency}) == "setting default_currency: put three letters there, such as EUR"


def test_registry_form_needs_the_address_of_a_registry():
    """Without one no value could be read."""
    line = refused({"wire_format": "confluent"})
    assert line == (
        "setting schema_registry_url: wire_format=confluent needs it: put the schema registry's address there"
    )


@pytest.mark.parametrize("other", ["contacts_topic", "facts_topic", "rejected_topic", "healed_topic"])
def test_no_two_settings_name_one_topic(other):
    """A processor that read its own output would never end."""
    line = refused({"events_topic": "same", other: "same"})
    assert line == "setting events_topic: same is another setting's topic too; name six different topics"


@pytest.mark.parametrize("length", [0, 1, 15])
def test_a_short_identifier_key_is_refused(length):
    """A key that can be guessed protects nothing; 16 characters are the least."""
    line = refused({"identifier_key": "k" * length})
    assert line == "setting identifier_key: put a secret of 16 characters or more there"
    assert load({"identifier_key": "k" * 16}, None, {}).identifier_key == "k" * 16


def test_no_refusal_repeats_a_secret(config):
    """Whatever is wrong with a secret, its value stands in no message: logs and terminals keep messages."""
    assert {"identifier_key", "redis_url", "kafka"} <= SECRETS
    nested = f'{{"sasl.password": ["{SECRET}"]}}'
    refused({"kafka": nested})
    refused({"kafka": f"sasl.password={SECRET}"})
    refused(variables=environment(kafka=nested))
    refused(config=config(f'[kafka]\n"sasl.password" = ["{SECRET}"]'))
    refused(config=config(f'identifier_key = ["{SECRET}"]'))
    refused(config=config(f'redis_url = {{url = "{SECRET}"}}'))
    refused(config=config(f'identifier_key = "{SECRET}'))
    refused({"redis_url": f"postgres://:{SECRET}@host", "identifier_key": SECRET})


def test_a_wrong_value_that_is_no_secret_is_shown():
    """The reader sees what was read, which may not be what was meant."""
    assert re.search(r"\(it is 'many'\)", refused({"max_batch": "many"}))


@pytest.mark.parametrize("age_s", ["0.1", "9.9"])
def test_an_age_that_a_healthy_index_reaches_is_refused(age_s):
    """It would warn of an index that is kept; 0 is no limit."""
    assert refused(variables=environment(contacts_max_age_s=age_s)).startswith("setting contacts_max_age_s: put 10 or")
    assert load({}, None, environment(contacts_max_age_s="0")).contacts_max_age_s == 0
