package orderfacts.bench;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import orderfacts.v1.OrderItem;

/** The items of an order (D10): a JSON text or the native Avro array in, typed items out. */
final class Items {
    private static final List<String> REQUIRED =
            List.of("externalItemId", "name", "quantity", "cost", "url", "imageUrl");
    private static final ObjectReader JSON = new ObjectMapper()
            .enable(DeserializationFeature.USE_LONG_FOR_INTS)
            .readerFor(new TypeReference<List<Map<String, Object>>>() {});

    private Items() {}

    static List<OrderItem> read(Object value) {
        List<OrderItem> items = new ArrayList<>();
        for (Map<String, Object> attributes : attributes(value)) {
            items.add(item(attributes));
        }
        return items;
    }

    @SuppressWarnings("unchecked")
    private static List<Map<String, Object>> attributes(Object value) {
        if (!(value instanceof String text)) {
            return (List<Map<String, Object>>) value;
        }
        try {
            return JSON.readValue(text);
        } catch (JsonProcessingException error) {
            throw new Refused("invalid_items");
        }
    }

    private static OrderItem item(Map<String, Object> attributes) {
        for (String name : REQUIRED) {
            if (!Values.isFilled(attributes.get(name))) {
                throw new Refused("invalid_items");
            }
        }
        OrderItem item = new OrderItem();
        item.setCustom(new HashMap<>());
        attributes.forEach((name, value) -> {
            if (Values.isFilled(value)) {
                put(item, name, value);
            }
        });
        return item;
    }

    private static void put(OrderItem item, String name, Object value) {
        switch (name) {
            case "externalItemId" -> item.setExternalItemId(value.toString());
            case "name" -> item.setName(value.toString());
            case "url" -> item.setUrl(value.toString());
            case "imageUrl" -> item.setImageUrl(value.toString());
            case "category" -> item.setCategory(value.toString());
            case "description" -> item.setDescription(value.toString());
            case "quantity" -> item.setQuantity(quantity(value));
            case "cost" -> item.setCost(cost(value));
            default -> item.getCustom().put(name, value);
        }
    }

    private static double quantity(Object value) {
        double quantity = value instanceof Number number ? number.doubleValue() : cost(value).doubleValue();
        if (!(quantity > 0)) {
            throw new Refused("invalid_items");
        }
        return quantity;
    }

    private static BigDecimal cost(Object value) {
        try {
            return Values.money(value);
        } catch (Refused refused) {
            throw new Refused("invalid_items");
        }
    }
}
