"""What the tests of the commands share: the vendor's example, events in its shape, and what a command printed."""

import json

from deploy.local.servers import HOST, free_ports
from tests.support.deployment import Deployment

NOWHERE = f"{HOST}:{free_ports(1)[0]}"
# As the vendor's page prints it.
VENDOR_EXAMPLE = """{
"eventTypeKey": "orderCreated",
"keyValue": "380501234567",
"params": [{
"name": "phone",
"value": "380501234567"
}, {
"name": "externalOrderId",
"value": "12345679"
}, {
"name": "externalCustomerId",
"value": "AV13760"
}, {
"name": "totalCost",
"value": "258.0"
}, {
"name": "status",
"value": "INITIALIZED"
}, {
"name": "date",
"value": "2020-05-14T10:11:00"
}, {
"name": "currency",
"value": "UAH"
}, {
"name": "items",
"value": [{
"externalItemId": "200600",
"name": "Super Device",
"category": "devices",
"quantity": 1,
"cost": 990,
"url": "http://example.com/item/200600",
"imageUrl": "http://example.com/item/200600/image.png",
"description": "High quality"
}]
}]
}
"""


class Idle(Deployment):
    """A deployment of which nothing runs, and whose topics a test makes itself."""

    def __init__(self, settings, folder, create_topic):
        super().__init__(settings, folder)
        self._create_topic = create_topic

    def create(self, role, partitions=2, **config):
        """Make the topic of a role, compacted where `topics create` would make it so."""
        if role in {"contacts", "facts", "segment_members"}:
            config = {"cleanup_policy": "compact"} | config
        self._create_topic(getattr(self.settings, f"{role}_topic"), partitions, **config)


def event(event_type, params):
    """Give an event in the vendor's shape."""
    named = [{"name": name, "value": value} for name, value in params.items()]
    return {"eventTypeKey": event_type, "keyValue": "", "params": named}


def output(done):
    """Give the JSON lines that a finished command printed; nothing may stand on standard error."""
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]
