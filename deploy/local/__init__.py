"""Real Kafka and Redis on this machine, for development, tests and the demonstration."""
