package orderfacts.bench;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Branched;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.state.Stores;

/**
 * The same work in Kafka Streams: exactly once, orders in RocksDB by order id, contacts in a global table.
 *
 * <p>Takes the job as one JSON argument, runs until SIGTERM.
 */
public final class Main {
    private Main() {}

    public static void main(String[] arguments) throws Exception {
        JsonNode job = new ObjectMapper().readTree(arguments[0]);
        KafkaStreams streams = new KafkaStreams(topology(job), properties(job));
        streams.setUncaughtExceptionHandler(error -> {
            error.printStackTrace();
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        streams.setStateListener((state, before) -> {
            if (state == KafkaStreams.State.ERROR) {
                Runtime.getRuntime().halt(1);
            }
        });
        Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
        streams.start();
    }

    private static Topology topology(JsonNode job) {
        StreamsBuilder builder = new StreamsBuilder();
        builder.globalTable(
                text(job, "identifiers"),
                Consumed.with(Serdes.String(), Serdes.String()),
                Materialized.as(OrderProcessor.CONTACTS));
        builder.addStateStore(Stores.keyValueStoreBuilder(
                        Stores.persistentKeyValueStore(OrderProcessor.ORDERS), Serdes.String(), Serdes.ByteArray())
                .withCachingEnabled());
        Produced<String, byte[]> asTheyAre = Produced.with(Serdes.String(), Serdes.ByteArray());
        builder.stream(text(job, "events_topic"), Consumed.with(Serdes.String(), Serdes.ByteArray()))
                .process(OrderProcessor::new, OrderProcessor.ORDERS)
                .split()
                .branch(
                        (key, output) -> output.isFact(),
                        Branched.withConsumer(
                                facts -> facts.mapValues(Output::value).to(text(job, "facts_topic"), asTheyAre)))
                .defaultBranch(Branched.withConsumer(
                        rejected -> rejected.mapValues(Output::value).to(text(job, "rejected_topic"), asTheyAre)));
        return builder.build();
    }

    private static Properties properties(JsonNode job) {
        Properties properties = new Properties();
        properties.put(StreamsConfig.APPLICATION_ID_CONFIG, text(job, "group_id"));
        properties.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, text(job, "bootstrap_servers"));
        properties.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        properties.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, job.get("commit_ms").asLong());
        properties.put(StreamsConfig.STATE_DIR_CONFIG, text(job, "state_folder"));
        properties.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        properties.put(StreamsConfig.producerPrefix(ProducerConfig.COMPRESSION_TYPE_CONFIG), "zstd");
        return properties;
    }

    private static String text(JsonNode job, String name) {
        return job.get(name).asText();
    }
}
