-- Left a cart and did not come back: no order was placed after it.
-- days (7): how many calendar days back the cart was left
FROM abandoned(days := $days)
