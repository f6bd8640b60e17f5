"""The rules of order events (D1 to D24, C1 to C5) a second time: plainly, and for tests only.

It shares no code with the processor and knows no Kafka, Redis or Avro. It takes whole topics as lists of
decoded records and gives the whole list of facts and rejections; whoever reads it beside the rules should
find each of their sentences again. Where speed and clarity differ, clarity is chosen.

    outputs = fold(inputs, Contacts(contact_records, rules), rules)
"""

from tests.reference.contacts import Contacts, in_force
from tests.reference.folding import fold
from tests.reference.model import ContactRecord, Fact, Input, Rejected, Rules

__all__ = ["ContactRecord", "Contacts", "Fact", "Input", "Rejected", "Rules", "fold", "in_force"]
