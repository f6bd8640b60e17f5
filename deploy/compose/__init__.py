"""The program, a Kafka and a Redis as containers on one machine: `make up`, `make down`."""
