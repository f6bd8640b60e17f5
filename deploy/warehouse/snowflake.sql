-- Snowflake: views on what its Kafka connector writes. See processor/segments/WAREHOUSE.md.
-- The last record of a key counts; a deletion has an empty content. Times are in UTC.

CREATE VIEW orders AS
SELECT m:key::varchar AS externalOrderId, c:contactId::varchar AS contactId, c:identifiedBy::varchar AS identifiedBy,
    c:status::varchar AS status, TO_TIMESTAMP_NTZ(c:date::bigint, 3) AS date, c:totalCost::decimal(18, 4) AS totalCost,
    c:currency::varchar AS currency, c:items AS items, c:externalCustomerId::varchar AS externalCustomerId,
    c:shipping::decimal(18, 4) AS shipping, c:discount::decimal(18, 4) AS discount, c:taxes::decimal(18, 4) AS taxes,
    c:statusDescription::varchar AS statusDescription, c:storeId::varchar AS storeId, c:source::varchar AS source,
    c:deliveryMethod::varchar AS deliveryMethod, c:paymentMethod::varchar AS paymentMethod, c:cartId::varchar AS cartId,
    c:custom AS custom, c:eventTypeKey::varchar AS eventTypeKey, TO_TIMESTAMP_NTZ(c:createdAt::bigint, 3) AS createdAt,
    TO_TIMESTAMP_NTZ(c:updatedAt::bigint, 3) AS updatedAt,
    TO_TIMESTAMP_NTZ(c:statusChangedAt::bigint, 3) AS statusChangedAt, c:revision::int AS revision,
    c:sourcePartition::int AS sourcePartition, c:sourceOffset::bigint AS sourceOffset,
    TO_TIMESTAMP_NTZ(c:occurredAt::bigint, 3) AS occurredAt
FROM (SELECT record_metadata AS m, record_content AS c FROM order_facts
    QUALIFY ROW_NUMBER() OVER (PARTITION BY record_metadata:key::varchar ORDER BY record_metadata:offset::bigint DESC) = 1)
WHERE c:externalOrderId IS NOT NULL;

CREATE VIEW contacts AS
SELECT m:key::varchar AS contactId, c:externalCustomerId::varchar AS externalCustomerId
FROM (SELECT record_metadata AS m, record_content AS c FROM contact_records
    QUALIFY ROW_NUMBER() OVER (PARTITION BY record_metadata:key::varchar ORDER BY record_metadata:offset::bigint DESC) = 1)
WHERE c:contactId IS NOT NULL;

CREATE VIEW items AS
SELECT o.externalOrderId, l.value:externalItemId::varchar AS externalItemId, l.value:name::varchar AS name,
    l.value:category::varchar AS category, l.value:url::varchar AS url, l.value:imageUrl::varchar AS imageUrl,
    l.value:description::varchar AS description, l.value:quantity::double AS quantity,
    l.value:cost::decimal(18, 4) AS cost, l.value:custom AS custom
FROM orders AS o, LATERAL FLATTEN(input => o.items) AS l;
