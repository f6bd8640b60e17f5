"""`facts export`: the latest facts and contacts as Parquet files in a folder, for questions in SQL.

Takes the facts and contacts topics, or what they hold since the snapshot before; gives the next snapshot. Never reads
the mirror, and never writes to Kafka.
"""
