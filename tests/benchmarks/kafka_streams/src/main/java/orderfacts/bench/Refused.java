package orderfacts.bench;

import java.util.Set;

/** Why an event gives no fact. Without a stack trace: it is an outcome, and it is thrown often. */
final class Refused extends RuntimeException {
    private static final Set<String> IGNORED =
            Set.of("unsupported_event_type", "order_exists", "order_unknown", "no_change");
    final String reason;

    Refused(String reason) {
        super(reason, null, false, false);
        this.reason = reason;
    }

    String outcome() {
        return IGNORED.contains(reason) ? "ignored" : "invalid";
    }
}
