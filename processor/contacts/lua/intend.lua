-- First phase of a batch: notes which identifiers the shard's contacts will have, before any claim is written, and
-- returns their present entries.
--
-- KEYS[1]   the shard
-- ARGV[1]   the writer field that must be there
-- ARGV[2]   the writer field to put there
-- ARGV[3]   the intent: for each contact its hash, the number of hashes (4 bytes) and its identifiers' hashes
-- ARGV[4:]  the contacts' hashes
-- Returns   the contacts' entries in the same order, nil for none; or, if the writer field is another, that field
--           (empty for none), and changes nothing.
local held = redis.call('HGET', KEYS[1], 'writer') or ''
if held ~= ARGV[1] then return held end
local entries = {}
for first = 4, #ARGV, 1000 do
  local found = redis.call('HMGET', KEYS[1], unpack(ARGV, first, math.min(first + 999, #ARGV)))
  for i = 1, #found do entries[first - 4 + i] = found[i] end
end
redis.call('HSET', KEYS[1], 'writer', ARGV[2], 'intent', ARGV[3])
return entries
