-- Bought one item, and not another one that goes with it.
-- item: the externalItemId of the item that was bought
-- other: the externalItemId of the item that was not
-- days (365): how many calendar days back, for both
FROM bought($item, days := $days) EXCEPT FROM bought($other, days := $days)
