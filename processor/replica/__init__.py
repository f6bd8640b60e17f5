"""Everything for `run`: one replica, its six steps and its one recovery path.

Takes events from its partitions of the events topic; gives one fact or one rejected record for each, exactly once.
`service` owns a batch from poll to mirror; every other module serves one of its steps. Never decides from a mirror
whose watermark is not the committed one.
"""
