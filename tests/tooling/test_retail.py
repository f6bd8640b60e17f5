"""The conversion of real invoices into contacts and order events, on the real file and on broken ones."""

import gzip
import json
import subprocess
import sys
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from deploy.demo import retail
from deploy.demo.invoices import RetailFileError, read_invoices

REPOSITORY = Path(__file__).parents[2]
SAMPLE = REPOSITORY / "tests" / "data" / "online_retail_sample.csv.gz"
HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
TYPES = ("orderCreated", "orderDelivered", "orderCancelled")
LINE = "536365,85123A,WHITE HEART ,6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom\n"


@pytest.fixture(scope="module")
def invoices():
    """Read the real file once for all tests."""
    return read_invoices(SAMPLE)


@pytest.fixture(scope="module")
def events(invoices):
    """Give the real file's events, in their order."""
    return retail.order_events(invoices)


@pytest.fixture(scope="module")
def by_order(events):
    """Give the real file's events by the order they name."""
    orders: dict[str, list[retail.OrderEvent]] = {}
    for event in events:
        orders.setdefault(event.order_id, []).append(event)
    return orders


def from_text(folder, text):
    """Read the invoices of a file with this text."""
    path = folder / "invoices.csv"
    path.write_bytes(text.encode())
    return read_invoices(path)


def params_of(event):
    """Give the parameters as sent, by name."""
    return {param["name"]: param["value"] for param in event.as_json()["params"]}


def test_real_file_has_the_invoices_it_is_known_for(invoices):
    """Nothing is lost or cleaned away while grouping: the counts are those published with the sample."""
    assert len(invoices) == 12_392
    assert sum(len(invoice.lines) for invoice in invoices) == 30_000
    assert sum(invoice.is_credit_note for invoice in invoices) == 523
    assert sum(len(invoice.lines) for invoice in invoices if invoice.customer is None) == 2_000
    assert len({invoice.country for invoice in invoices}) == 38


def test_real_file_keeps_its_33_odd_invoices(invoices, events):
    """Quantities below 1, prices of 0 and missing descriptions go out as they are."""
    odd = {
        invoice.number
        for invoice in invoices
        if not invoice.is_credit_note
        and any(line.quantity < 1 or line.unit_price == 0 or not line.description.strip() for line in invoice.lines)
    }
    sent_odd = {
        event.order_id
        for event in events
        if event.type_key == "orderCreated"
        and any(
            item["quantity"] < 1 or item["cost"] == 0 or not item["name"].strip() for item in params_of(event)["items"]
        )
    }
    assert len(odd) == 33
    assert sent_odd == odd


def test_every_customer_is_one_contact_with_identifiers_of_its_own(invoices):
    """No two contacts claim one identifier, so no order can be found to belong to the wrong one."""
    contacts = [contact.as_json() for contact in retail.contacts(invoices)]
    assert len(contacts) == 3_569
    for name in ("contactId", "externalCustomerId", "email", "phone"):
        assert len({contact[name].lower() for contact in contacts}) == len(contacts)
    assert contacts[0]["contactId"] == "12347", "an id is the customer's number without .0"


def test_contact_has_the_fields_of_its_schema():
    """A contact is what the Avro schema of contacts says, field by field."""
    schema = json.loads((REPOSITORY / "schemas" / "contact.1.avsc").read_text())
    assert list(retail.Contact("17850").as_json()) == [field["name"] for field in schema["fields"]]


def test_each_invoice_is_created_and_delivered_once(invoices, events):
    """An invoice gives one creation and one delivery, a credit note one cancellation."""
    orders = {invoice.number for invoice in invoices if not invoice.is_credit_note}
    by_type = {key: [event.order_id for event in events if event.type_key == key] for key in TYPES}
    assert sorted(by_type["orderCreated"]) == sorted(by_type["orderDelivered"]) == sorted(orders)
    assert {key: len(ids) for key, ids in by_type.items()} == dict(zip(TYPES, (11_869, 11_869, 523), strict=True))


def test_57_credit_notes_cancel_the_order_they_return(invoices, by_order):
    """A note whose goods its customer bought earlier cancels that order, any other only itself."""
    real = [key for key, events in by_order.items() if len(events) == 3]
    assert len(real) == 57
    assert all(
        [event.type_key for event in by_order[key]] == ["orderCreated", "orderDelivered", "orderCancelled"]
        for key in real
    )
    unknown = [event for events in by_order.values() for event in events if event.order_id.startswith("C")]
    assert len(unknown) == 523 - 57


def test_events_are_in_time_order(events, by_order):
    """The whole stream, hence each order's life, runs forward: created, then delivered, then cancelled."""
    moments = [event.at for event in events]
    assert moments == sorted(moments)
    for order in by_order.values():
        assert [event.at for event in order] == sorted({event.at for event in order})


def test_every_event_is_keyed_by_its_order(events):
    """The keyValue is the externalOrderId, and no parameter's name occurs twice (D1)."""
    for event in events:
        sent = event.as_json()
        names = [param["name"] for param in sent["params"]]
        assert set(sent) == {"eventTypeKey", "keyValue", "params"}
        assert sent["keyValue"] == params_of(event)["externalOrderId"] == event.order_id
        assert len(set(names)) == len(names)


def test_orders_name_their_customer_in_many_ways(invoices, events):
    """Several kinds of identifier occur, one an event; of orders without a customer some carry a guest's address."""
    by_number = {invoice.number: invoice for invoice in invoices}
    names = {name for name, _ in retail.IDENTIFIERS}
    used: Counter[str] = Counter()
    guests: Counter[bool] = Counter()
    for event in events:
        if event.type_key != "orderCreated":
            continue
        found = names & set(params_of(event))
        if by_number[event.order_id].customer:
            assert len(found) == 1
            used.update(found)
        else:
            assert found <= {"email"}
            guests[bool(found)] += 1
    assert set(used) == {"externalCustomerId", "contactId", "email", "Email", "phone", "SMS"}
    assert min(used.values()) > 1_000
    assert min(guests[True], guests[False]) > 300


def test_order_has_the_vendors_shape(tmp_path):
    """One small invoice, line for line: what is sent is what the vendor's documentation shows."""
    rows = HEADER + LINE + LINE.replace("85123A,WHITE HEART ,6", "DCGS 4,POSTAGE,1").replace("08:26", "08:25")
    created, delivered = retail.order_events(from_text(tmp_path, rows))
    assert delivered.as_json() == {
        "eventTypeKey": "orderDelivered",
        "keyValue": "536365",
        "params": [{"name": "externalOrderId", "value": "536365"}],
    }
    assert params_of(created) == {
        "externalOrderId": "536365",
        "externalCustomerId": "retail-17850",
        "totalCost": "17.8500",
        "status": "INITIALIZED",
        "date": "2010-12-01T08:25:00",
        "currency": "GBP",
        "items": [
            {
                "externalItemId": "85123A",
                "name": "WHITE HEART ",
                "quantity": 6,
                "cost": 2.55,
                "url": "https://shop.example/item/85123A",
                "imageUrl": "https://shop.example/item/85123A/image.png",
            },
            {
                "externalItemId": "DCGS 4",
                "name": "POSTAGE",
                "quantity": 1,
                "cost": 2.55,
                "url": "https://shop.example/item/DCGS%204",
                "imageUrl": "https://shop.example/item/DCGS%204/image.png",
            },
        ],
        "country": "United Kingdom",
    }


def test_cancellation_waits_for_the_delivery(tmp_path):
    """A note of the same day is sent after the delivery, and cancels the latest of the earlier orders."""
    older = LINE.replace("536365", "536300").replace("2010-12-01", "2010-11-01")
    note = LINE.replace("536365", "C536999").replace("08:26", "09:00").replace(",6,", ",-6,")
    events = retail.order_events(from_text(tmp_path, HEADER + note + LINE + older))
    *_, delivered, cancelled = events
    assert [event.order_id for event in events] == ["536300", "536300", "536365", "536365", "536365"]
    assert (delivered.type_key, cancelled.type_key) == ("orderDelivered", "orderCancelled")
    assert cancelled.at - delivered.at == timedelta(hours=1)


def test_note_of_another_customer_or_item_cancels_nothing(tmp_path):
    """Neither the same item of another customer nor another item of the same customer is a return."""
    stranger = LINE.replace("536365", "C536998").replace("17850", "17851").replace("-01 ", "-20 ")
    other_item = LINE.replace("536365", "C536999").replace("85123A", "22423").replace("-01 ", "-20 ")
    events = retail.order_events(from_text(tmp_path, HEADER + LINE + stranger + other_item))
    assert [event.order_id for event in events if event.type_key == "orderCancelled"] == [
        "C536998",
        "C536999",
    ]


def test_columns_may_come_in_another_order(tmp_path):
    """Another export of the same columns, with one more, a byte order mark and CRLF, reads the same."""
    text = (
        "\ufeffCountry,CustomerID,UnitPrice,InvoiceDate,Quantity,Description,StockCode,InvoiceNo,Note\r\n"
        "United Kingdom,17850,2.55,2010-12-01 08:26:00,6,WHITE HEART ,85123A,536365,x\r\n"
    )
    assert from_text(tmp_path, text) == from_text(tmp_path, HEADER + LINE)
    assert from_text(tmp_path, text)[0].at == datetime(2010, 12, 1, 8, 26)  # noqa: DTZ001


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", ":1: the header lacks InvoiceNo, StockCode"),
        (HEADER.replace("InvoiceDate", "Date") + LINE, ":1: the header lacks InvoiceDate"),
        (HEADER, ": no invoice line after the header"),
        (HEADER + LINE + LINE.replace(",6,", ",six,"), ":3: Quantity 'six' is not a number"),
        (HEADER + LINE.replace("2.55", "NaN"), ":2: UnitPrice 'NaN' is not a number"),
        (HEADER + LINE.replace("2.55", "1e999"), ":2: UnitPrice '1e999' is not a number"),
        (HEADER + LINE.replace("2010-12-01 ", "12/1/2010 "), ":2: InvoiceDate '12/1/2010 08:26:00' is not"),
        (HEADER + LINE + "536366,85123A\n", ":3: 2 fields, but the header has 8"),
        (HEADER + LINE.replace("536365", " "), ":2: InvoiceNo is empty"),
        (HEADER + LINE.replace("WHITE", '"WHITE'), ":2: not CSV: unexpected end of data"),
    ],
)
def test_broken_file_is_one_clear_line(tmp_path, text, complaint):
    """What is wrong is said with the file and the line number, on one line."""
    with pytest.raises(RetailFileError) as caught:
        from_text(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'invoices.csv'}{complaint}")
    assert "\n" not in str(caught.value)


def test_file_that_is_not_utf8_is_refused_with_its_line(tmp_path):
    """A Latin-1 export is named as such, at its first offending line."""
    path = tmp_path / "latin.csv"
    path.write_bytes((HEADER + LINE).encode() + LINE.replace("WHITE", "CAFÉ").encode("latin-1"))
    with pytest.raises(RetailFileError, match=r"latin\.csv:3: not UTF-8$"):
        read_invoices(path)


@pytest.mark.parametrize(
    "content", [b"no gzip at all", gzip.compress(b"InvoiceNo" * 1000, mtime=0)[:20], b"\x1f\x8b\x08"]
)
def test_damaged_gzip_is_refused(tmp_path, content):
    """A file cut short or not compressed at all is an error of ours, not a traceback."""
    path = tmp_path / "invoices.csv.gz"
    path.write_bytes(content)
    with pytest.raises(RetailFileError, match="cannot be read"):
        read_invoices(path)


def test_command_writes_what_it_counts(tmp_path, invoices, events):
    """The command gives the functions' contacts and events, one JSON object a line, exit code 0."""
    code = run_command(SAMPLE, tmp_path).returncode
    sent = [json.loads(line) for line in (tmp_path / "events").read_text(encoding="utf-8").splitlines()]
    known = [json.loads(line) for line in (tmp_path / "contacts").read_text(encoding="utf-8").splitlines()]
    assert code == 0
    assert sent == [event.as_json() for event in events]
    assert known == [contact.as_json() for contact in retail.contacts(invoices)]


def test_command_on_a_wrong_file_exits_2_with_one_line(tmp_path):
    """A missing file is one line on standard error, exit code 2."""
    result = run_command(tmp_path / "absent.csv", tmp_path)
    assert result.returncode == 2
    assert result.stderr == f"{tmp_path / 'absent.csv'}: cannot be read: No such file or directory\n"


def run_command(csv, folder):
    """Run the command as a user does, its outputs in the folder."""
    command = [sys.executable, "-m", "deploy.demo.retail", str(csv)]
    command += ["--contacts", str(folder / "contacts"), "--events", str(folder / "events")]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
