-- ClickHouse: facts and contacts, read by its Kafka engine. See processor/segments/WAREHOUSE.md.
-- Replace the addresses. Of a line of an order all columns must be there, of an order and a contact not.

CREATE TABLE facts_queue (
    externalOrderId String, contactId String, identifiedBy String, status String, date DateTime64(3, 'UTC'),
    totalCost Decimal(18, 4), currency Nullable(String),
    items Array(Tuple(externalItemId String, name Nullable(String), category Nullable(String), url Nullable(String),
        imageUrl Nullable(String), description Nullable(String), quantity Float64, cost Nullable(Decimal(18, 4)),
        custom Map(String, Variant(Bool, Int64, Float64, String)))),
    externalCustomerId Nullable(String), shipping Nullable(Decimal(18, 4)), discount Nullable(Decimal(18, 4)),
    taxes Nullable(Decimal(18, 4)), statusDescription Nullable(String), storeId Nullable(String), source Nullable(String),
    deliveryMethod Nullable(String), paymentMethod Nullable(String), cartId Nullable(String),
    custom Map(String, Variant(Bool, Int64, Float64, String)), eventTypeKey String, createdAt DateTime64(3, 'UTC'),
    updatedAt DateTime64(3, 'UTC'), statusChangedAt DateTime64(3, 'UTC'), revision Int32, sourcePartition Int32,
    sourceOffset Int64, occurredAt Nullable(DateTime64(3, 'UTC')))
ENGINE = Kafka SETTINGS kafka_broker_list = 'kafka-1.example:9092', kafka_topic_list = 'order-facts',
    kafka_group_name = 'clickhouse-facts', kafka_format = 'AvroConfluent',
    format_avro_schema_registry_url = 'https://registry.example/apis/ccompat/v7';

CREATE TABLE contacts_queue (externalCustomerId Nullable(String))
ENGINE = Kafka SETTINGS kafka_broker_list = 'kafka-1.example:9092', kafka_topic_list = 'contacts',
    kafka_group_name = 'clickhouse-contacts', kafka_format = 'AvroConfluent',
    format_avro_schema_registry_url = 'https://registry.example/apis/ccompat/v7';

CREATE TABLE orders ENGINE = ReplacingMergeTree(_place, _isDeleted) ORDER BY externalOrderId
    EMPTY AS SELECT *, _offset AS _place, toUInt8(0) AS _isDeleted FROM facts_queue;

CREATE TABLE contacts ENGINE = ReplacingMergeTree(_place, _isDeleted) ORDER BY contactId
    EMPTY AS SELECT _key AS contactId, externalCustomerId, _partition, _offset AS _place, toUInt8(0) AS _isDeleted
    FROM contacts_queue;

CREATE MATERIALIZED VIEW facts_read TO orders AS
    SELECT *, _offset AS _place, toUInt8(0) AS _isDeleted FROM facts_queue;

CREATE MATERIALIZED VIEW contacts_read TO contacts AS
    SELECT _key AS contactId, externalCustomerId, _partition, _offset AS _place, toUInt8(0) AS _isDeleted
    FROM contacts_queue;
