"""Every byte format, once: Avro values, an order's state, a fact as JSON, a rejected record's headers.

Takes bytes from anybody and gives checked values, or an error that says what is wrong; takes the domain's values and
gives bytes. Never reads or writes anything itself.
"""
