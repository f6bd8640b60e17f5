package orderfacts.bench;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import orderfacts.v1.OrderEvent;
import orderfacts.v1.Param;

/**
 * What an event asks for, its parameters read (D1 to D12 as far as the benchmark's input goes).
 *
 * @param changes the fields of the fact that the event fills, by their names
 * @param custom the parameters without a field of their own
 * @param identifiers what names a contact, `field:value`, in the order in which it is tried
 */
record Command(
        String orderId, String eventType, Map<String, Object> changes, Map<String, Object> custom,
        List<Identifier> identifiers) {

    /** A contact's field and what is looked for in it. */
    record Identifier(String field, String value) {
        String key() {
            return field + ":" + value;
        }
    }

    static final Map<String, String> FINAL_STATUS = Map.of("orderDelivered", "DELIVERED", "orderCancelled", "CANCELLED");
    private static final Set<String> TYPES =
            Set.of("orderCreated", "orderUpdated", "orderDelivered", "orderCancelled");
    private static final Set<String> TEXTS = Set.of(
            "externalCustomerId", "email", "phone", "firstName", "lastName", "statusDescription", "restoreUrl",
            "storeId", "source", "deliveryMethod", "paymentMethod", "deliveryAddress", "additionalInfo", "cartId");
    private static final Map<String, String> IDENTIFYING = identifying();

    static Command of(OrderEvent event, String key) {
        String type = event.getEventTypeKey();
        if (!TYPES.contains(type)) {
            throw new Refused("unsupported_event_type");
        }
        Map<String, Object> filled = new LinkedHashMap<>();
        for (Param param : event.getParams()) {
            if (Values.isFilled(param.getValue())) {
                filled.put(param.getName(), param.getValue());
            }
        }
        Object id = filled.remove("externalOrderId");
        if (id == null) {
            throw new Refused("missing_parameter");
        }
        if (!id.toString().equals(key)) {
            throw new Refused("key_mismatch");
        }
        Map<String, Object> changes = new HashMap<>();
        Map<String, Object> custom = new HashMap<>();
        if (FINAL_STATUS.containsKey(type)) {
            changes.put("status", Values.status(FINAL_STATUS.get(type)));
        } else {
            read(filled, changes, custom);
        }
        return new Command(key, type, changes, custom, identifiers(filled));
    }

    private static void read(Map<String, Object> filled, Map<String, Object> changes, Map<String, Object> custom) {
        filled.forEach((name, value) -> {
            switch (name) {
                case "totalCost", "shipping", "discount", "taxes" -> changes.put(name, Values.money(value));
                case "status" -> changes.put(name, Values.status(value));
                case "date" -> changes.put(name, Values.date(value));
                case "currency" -> changes.put(name, Values.currency(value));
                case "items" -> { }
                default -> {
                    if (TEXTS.contains(name)) {
                        changes.put(name, value.toString());
                    } else if (!IDENTIFYING.containsKey(name.toLowerCase())) {
                        custom.put(name, value);
                    }
                }
            }
        });
        if (filled.containsKey("items")) {
            changes.put("items", Items.read(filled.get("items")));
        }
    }

    private static List<Identifier> identifiers(Map<String, Object> filled) {
        Map<String, Object> lower = new HashMap<>();
        filled.forEach((name, value) -> lower.putIfAbsent(name.toLowerCase(), value));
        List<Identifier> found = new ArrayList<>(2);
        IDENTIFYING.forEach((name, field) -> {
            Object value = lower.get(name);
            if (value instanceof String || value instanceof Long) {
                String text = value.toString().strip();
                found.add(new Identifier(field, switch (field) {
                    case "email" -> text.toLowerCase();
                    case "phone" -> text.replaceAll("[^0-9]", "");
                    default -> text;
                }));
            }
        });
        return found;
    }

    /** Parameters in the order in which they are tried, with the contact's field each one means. */
    private static Map<String, String> identifying() {
        Map<String, String> found = new LinkedHashMap<>();
        found.put("contactid", "contactId");
        found.put("contact_id", "contactId");
        found.put("externalcustomerid", "externalCustomerId");
        for (String name : List.of("email", "emailaddress", "useremail", "contactemail")) {
            found.put(name, "email");
        }
        for (String name : List.of("phone", "sms", "phonenumber")) {
            found.put(name, "phone");
        }
        found.put("pushtoken", "pushToken");
        found.put("contactkey", "contactKey");
        found.put("contact_key", "contactKey");
        return found;
    }
}
