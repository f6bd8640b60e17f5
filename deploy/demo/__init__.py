"""The demonstration, `make run`: real invoices become facts on a real Kafka and Redis."""
