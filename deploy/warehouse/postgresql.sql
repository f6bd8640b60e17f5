-- PostgreSQL: orders and contacts, written by Debezium's JDBC sink. See processor/segments/WAREHOUSE.md.

CREATE TABLE orders (
    "externalOrderId" text PRIMARY KEY, "contactId" text NOT NULL, "identifiedBy" text NOT NULL, status text NOT NULL,
    date timestamptz NOT NULL, "totalCost" numeric(18, 4) NOT NULL, currency text, items jsonb NOT NULL,
    "externalCustomerId" text, shipping numeric(18, 4), discount numeric(18, 4), taxes numeric(18, 4),
    "statusDescription" text, "storeId" text, source text, "deliveryMethod" text, "paymentMethod" text, "cartId" text,
    custom jsonb NOT NULL, "eventTypeKey" text NOT NULL, "createdAt" timestamptz NOT NULL, "updatedAt" timestamptz NOT NULL,
    "statusChangedAt" timestamptz NOT NULL, revision int NOT NULL, "sourcePartition" int NOT NULL,
    "sourceOffset" bigint NOT NULL, "occurredAt" timestamptz);

CREATE INDEX ON orders ("contactId");

CREATE TABLE contacts ("contactId" text PRIMARY KEY, "externalCustomerId" text);

-- An older revision, or the same one again, changes nothing.
CREATE FUNCTION keep_latest() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN IF NEW.revision > OLD.revision THEN RETURN NEW; END IF; RETURN NULL; END';
CREATE TRIGGER latest BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION keep_latest();

-- A row a line of an order.
CREATE VIEW items AS
    SELECT o."externalOrderId", l.* FROM orders AS o CROSS JOIN LATERAL jsonb_to_recordset(o.items) AS l
        ("externalItemId" text, name text, category text, url text, "imageUrl" text, description text,
            quantity float8, cost numeric(18, 4), custom jsonb);
