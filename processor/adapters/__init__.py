"""Each module speaks to one outside thing: Avro, Kafka, Redis."""
