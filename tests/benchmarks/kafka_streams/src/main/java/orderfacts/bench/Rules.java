package orderfacts.bench;

import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Function;
import orderfacts.v1.OrderFact;
import orderfacts.v1.OrderItem;

/** An order and a command in, the order as it now is out, or Refused (D13, D15 to D23). */
final class Rules {
    private static final List<String> REQUIRED = List.of("totalCost", "status", "date");
    private final Function<String, String> contacts;

    /** A found contact, and the field that found it. */
    private record Owner(String contactId, String identifiedBy) {}

    /** Takes what finds the contact id of an identifier, null if there is none. */
    Rules(Function<String, String> contacts) {
        this.contacts = contacts;
    }

    /** Gives the fact but for its source; the order given is changed. */
    OrderFact decide(OrderFact order, Command command, Instant timestamp) {
        if (order != null) {
            if (command.eventType().equals("orderCreated")) {
                throw new Refused("order_exists");
            }
            return changed(order, command, timestamp);
        }
        if (Command.FINAL_STATUS.containsKey(command.eventType())) {
            throw new Refused("order_unknown");
        }
        return created(command, timestamp);
    }

    private OrderFact created(Command command, Instant timestamp) {
        if (!command.changes().keySet().containsAll(REQUIRED)) {
            throw new Refused("missing_parameter");
        }
        if (command.identifiers().isEmpty()) {
            throw new Refused("no_identifier");
        }
        OrderFact fact = new OrderFact();
        fact.setExternalOrderId(command.orderId());
        fact.setItems(new ArrayList<>());
        fact.setCustom(command.custom());
        for (Map.Entry<String, Object> change : command.changes().entrySet()) {
            replace(fact, change.getKey(), change.getValue());
        }
        Owner owner = owner(command);
        fact.setContactId(owner.contactId());
        fact.setIdentifiedBy(owner.identifiedBy());
        fact.setEventTypeKey(command.eventType());
        fact.setCreatedAt(timestamp);
        fact.setUpdatedAt(timestamp);
        fact.setStatusChangedAt(timestamp);
        fact.setRevision(1);
        return fact;
    }

    private OrderFact changed(OrderFact fact, Command command, Instant timestamp) {
        if (!command.identifiers().isEmpty() && !owner(command).contactId().equals(fact.getContactId())) {
            throw new Refused("contact_mismatch");
        }
        Object statusBefore = fact.getStatus();
        boolean differs = false;
        for (Map.Entry<String, Object> change : command.changes().entrySet()) {
            differs |= replace(fact, change.getKey(), change.getValue());
        }
        if (!command.custom().isEmpty()) {
            Map<String, Object> custom = new HashMap<>(fact.getCustom());
            custom.putAll(command.custom());
            differs |= replace(fact, "custom", custom);
        }
        if (!differs) {
            throw new Refused("no_change");
        }
        fact.setEventTypeKey(command.eventType());
        fact.setUpdatedAt(timestamp);
        if (fact.getStatus() != statusBefore) {
            fact.setStatusChangedAt(timestamp);
        }
        fact.setRevision(fact.getRevision() + 1);
        return fact;
    }

    /** Gives the contact of the first identifier that finds one. */
    private Owner owner(Command command) {
        for (Command.Identifier identifier : command.identifiers()) {
            String contactId = contacts.apply(identifier.key());
            if (contactId != null) {
                return new Owner(contactId, identifier.field());
            }
        }
        throw new Refused("contact_not_found");
    }

    /** Puts a field's value; tells whether it is another one. */
    private static boolean replace(OrderFact fact, String name, Object value) {
        int position = OrderFact.SCHEMA$.getField(name).pos();
        Object before = fact.get(position);
        boolean differs = name.equals("items")
                ? !sameItems((List<?>) before, (List<?>) value)
                : !Objects.equals(before, value);
        fact.put(position, value);
        return differs;
    }

    /** Compares field by field: Avro's own comparison of records cannot compare decimals. */
    private static boolean sameItems(List<?> one, List<?> other) {
        if (one.size() != other.size()) {
            return false;
        }
        int fields = OrderItem.SCHEMA$.getFields().size();
        for (int number = 0; number < one.size(); number++) {
            OrderItem a = (OrderItem) one.get(number);
            OrderItem b = (OrderItem) other.get(number);
            for (int position = 0; position < fields; position++) {
                if (!Objects.equals(a.get(position), b.get(position))) {
                    return false;
                }
            }
        }
        return true;
    }
}
