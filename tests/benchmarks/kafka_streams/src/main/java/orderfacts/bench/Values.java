package orderfacts.bench;

import java.math.BigDecimal;
import java.math.RoundingMode;
import java.time.DateTimeException;
import java.time.Instant;
import java.time.LocalDateTime;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.time.temporal.ChronoUnit;
import java.util.regex.Pattern;
import orderfacts.v1.OrderStatus;

/** Single values of events (D4, D6 to D9). */
final class Values {
    private static final Pattern NUMBER = Pattern.compile("[0-9]+(\\.[0-9]+)?");
    private static final BigDecimal LIMIT = BigDecimal.TEN.pow(14);

    private Values() {}

    static boolean isFilled(Object value) {
        if (value instanceof String text) {
            String trimmed = text.strip();
            return !trimmed.isEmpty() && !trimmed.equalsIgnoreCase("null");
        }
        return value != null;
    }

    static BigDecimal money(Object value) {
        BigDecimal amount = null;
        if (value instanceof String text && NUMBER.matcher(text).matches()) {
            amount = new BigDecimal(text);
        } else if (value instanceof Double number && Double.isFinite(number)) {
            amount = new BigDecimal(number.toString());
        } else if (value instanceof Long number) {
            amount = BigDecimal.valueOf(number);
        }
        if (amount == null || amount.signum() < 0 || amount.compareTo(LIMIT) >= 0) {
            throw new Refused("invalid_parameter");
        }
        return amount.setScale(4, RoundingMode.HALF_EVEN);
    }

    static OrderStatus status(Object value) {
        try {
            return OrderStatus.valueOf((String) value);
        } catch (IllegalArgumentException | ClassCastException error) {
            throw new Refused("invalid_parameter");
        }
    }

    static Instant date(Object value) {
        String text = value.toString();
        try {
            Instant found = text.endsWith("Z")
                    ? OffsetDateTime.parse(text).toInstant()
                    : LocalDateTime.parse(text).toInstant(ZoneOffset.UTC);
            return found.truncatedTo(ChronoUnit.MILLIS);
        } catch (DateTimeException error) {
            throw new Refused("invalid_parameter");
        }
    }

    static String currency(Object value) {
        String text = value.toString();
        if (text.length() != 3 || !text.chars().allMatch(c -> c < 128 && Character.isLetter(c))) {
            throw new Refused("invalid_parameter");
        }
        return text.toUpperCase();
    }
}
