package orderfacts;

import java.nio.charset.StandardCharsets;
import java.util.Map;
import org.apache.kafka.common.config.ConfigDef;
import org.apache.kafka.connect.connector.ConnectRecord;
import org.apache.kafka.connect.data.*;
import org.apache.kafka.connect.json.JsonConverter;
import org.apache.kafka.connect.transforms.Transformation;

/**
 * Makes a row for a JDBC sink of a record: JSON text of its arrays and maps, which such a sink cannot write, and of a null
 * value a deletion as Debezium's sink takes it, with a schema. See processor/segments/WAREHOUSE.md.
 */
public class JdbcRow<R extends ConnectRecord<R>> implements Transformation<R> {
    private static final Schema JSON = SchemaBuilder.string().name("io.debezium.data.Json").optional().build();
    private static final Schema DELETED = SchemaBuilder.struct().optional().build();
    private final JsonConverter json = new JsonConverter();

    @Override public void configure(Map<String, ?> settings) {
        json.configure(Map.of("schemas.enable", false, "decimal.format", "NUMERIC"), false);
    }

    @Override public R apply(R record) {
        if (record.value() == null) return with(record, DELETED, null);
        Struct given = (Struct) record.value();
        SchemaBuilder schema = SchemaBuilder.struct();
        given.schema().fields().forEach(field -> schema.field(field.name(), isPlain(field) ? field.schema() : JSON));
        Struct row = new Struct(schema.build());
        given.schema().fields().forEach(field -> row.put(field.name(), isPlain(field) ? given.get(field) : text(given, field)));
        return with(record, row.schema(), row);
    }

    private static boolean isPlain(Field field) {
        return field.schema().type().isPrimitive();
    }

    private String text(Struct given, Field field) {
        return new String(json.fromConnectData("", field.schema(), given.get(field)), StandardCharsets.UTF_8);
    }

    private R with(R record, Schema schema, Object value) {
        return record.newRecord(record.topic(), record.kafkaPartition(), record.keySchema(), record.key(), schema, value,
            record.timestamp());
    }

    @Override public ConfigDef config() { return new ConfigDef(); }

    @Override public void close() { }
}
