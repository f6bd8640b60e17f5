-- Third phase of a batch: writes the contacts' entries, drops the intent, and moves the position with it.
--
-- KEYS[1]   the shard
-- ARGV[1]   the writer field that must be there
-- ARGV[2]   the writer field to put there
-- ARGV[3]   the mark
-- ARGV[4]   the position
-- ARGV[5:]  pair by pair, a contact's hash and its entry
-- Returns   1; or, if the writer field is another, that field (empty for none), and changes nothing.
local held = redis.call('HGET', KEYS[1], 'writer') or ''
if held ~= ARGV[1] then return held end
for first = 5, #ARGV, 1000 do
  redis.call('HSET', KEYS[1], unpack(ARGV, first, math.min(first + 999, #ARGV)))
end
redis.call('HDEL', KEYS[1], 'intent')
redis.call('HSET', KEYS[1], 'writer', ARGV[2], 'mark', ARGV[3], 'position', ARGV[4])
return 1
