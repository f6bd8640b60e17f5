package orderfacts.bench;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import orderfacts.v1.OrderEvent;
import orderfacts.v1.OrderFact;
import org.apache.avro.AvroRuntimeException;
import org.apache.avro.message.BinaryMessageDecoder;
import org.apache.avro.message.BinaryMessageEncoder;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.processor.api.RecordMetadata;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.TimestampedKeyValueStore;
import org.apache.kafka.streams.state.ValueAndTimestamp;

/** One event in, one fact or rejected record out; the latest fact of an order, as Avro, is its state. */
final class OrderProcessor implements Processor<String, byte[], String, Output> {
    static final String ORDERS = "orders";
    static final String CONTACTS = "contacts";

    private final BinaryMessageDecoder<OrderEvent> events = OrderEvent.getDecoder();
    private final BinaryMessageDecoder<OrderFact> facts = OrderFact.getDecoder();
    private final BinaryMessageEncoder<OrderFact> encoder = OrderFact.getEncoder();
    private ProcessorContext<String, Output> context;
    private KeyValueStore<String, byte[]> orders;
    private Rules rules;

    @Override
    public void init(ProcessorContext<String, Output> context) {
        this.context = context;
        orders = context.getStateStore(ORDERS);
        TimestampedKeyValueStore<String, String> contacts = context.getStateStore(CONTACTS);
        rules = new Rules(identifier -> ValueAndTimestamp.getValueOrNull(contacts.get(identifier)));
    }

    @Override
    public void process(Record<String, byte[]> record) {
        RecordMetadata source = context.recordMetadata().orElseThrow();
        try {
            Command command = Command.of(decoded(record.value()), record.key());
            OrderFact fact = rules.decide(order(record.key()), command, Instant.ofEpochMilli(record.timestamp()));
            fact.setSourcePartition(source.partition());
            fact.setSourceOffset(source.offset());
            byte[] value = encoded(fact);
            orders.put(record.key(), value);
            context.forward(record.withValue(new Output(true, value)).withHeaders(new RecordHeaders()));
        } catch (Refused refused) {
            Headers headers = headers(refused, source, record.timestamp());
            context.forward(record.withValue(new Output(false, record.value())).withHeaders(headers));
        }
    }

    private OrderEvent decoded(byte[] value) {
        try {
            return events.decode(value);
        } catch (IOException | AvroRuntimeException error) {
            throw new Refused("undecodable");
        }
    }

    private OrderFact order(String key) {
        byte[] held = orders.get(key);
        try {
            return held == null ? null : facts.decode(held);
        } catch (IOException error) {
            throw new IllegalStateException("a state that cannot be read", error);
        }
    }

    private byte[] encoded(OrderFact fact) {
        try {
            ByteBuffer buffer = encoder.encode(fact);
            byte[] value = new byte[buffer.remaining()];
            buffer.get(value);
            return value;
        } catch (IOException error) {
            throw new IllegalStateException("a fact that cannot be written", error);
        }
    }

    private static Headers headers(Refused refused, RecordMetadata source, long timestamp) {
        return new RecordHeaders()
                .add("reason", bytes(refused.reason))
                .add("outcome", bytes(refused.outcome()))
                .add("source.partition", bytes(source.partition()))
                .add("source.offset", bytes(source.offset()))
                .add("source.timestamp", bytes(timestamp));
    }

    private static byte[] bytes(Object value) {
        return value.toString().getBytes(StandardCharsets.UTF_8);
    }
}
