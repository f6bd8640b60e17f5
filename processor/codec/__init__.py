"""Every byte format, once: Avro values, an order's state, a fact as JSON, a rejected record's headers.

Takes bytes from anyone and gives checked values, or an error that says what is wrong. Takes the domain's values and
gives bytes. Never does I/O itself.
"""
