package orderfacts.bench;

/** What became of one event: the value of its record in one of the two output topics. */
record Output(boolean isFact, byte[] value) {}
