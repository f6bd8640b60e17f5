-- Third phase of a batch: writes the contacts' entries, drops the intent, and moves the position with it.
--
-- KEYS[1]  the shard
-- KEYS[2]  the claims on its shared identifiers
-- ARGV[1]  the writer field that must be there
-- ARGV[2]  the writer field to put there
-- ARGV[3]  the mark
-- ARGV[4]  the position
-- ARGV[5]  for each contact its hash, the length of its entry (4 bytes), the entry; empty: as the intent says, because
--          all are new
-- Returns  1; or, if the writer field is another, that field (empty for none), and changes nothing; or nil if KEYS[2]
--          does not belong to KEYS[1].
local byte, sub, entries = string.byte, string.sub, ARGV[5]
local held = redis.call('HGET', KEYS[1], 'writer') or ''
if held ~= ARGV[1] then return held end
if not redis.call('ZSCORE', KEYS[2], 'writer' .. held) then return false end
if entries == '' then entries = redis.call('HGET', KEYS[1], 'intent') or '' end
local pairs, at = {}, 1
while at <= #entries do
  local b1, b2, b3, b4 = byte(entries, at + 16, at + 19)
  local stop = at + 19 + ((b1 * 256 + b2) * 256 + b3) * 256 + b4
  pairs[#pairs + 1] = sub(entries, at, at + 15)
  pairs[#pairs + 1] = sub(entries, at + 20, stop)
  at = stop + 1
end
for first = 1, #pairs, 1000 do -- unpack takes at most some thousand values
  redis.call('HSET', KEYS[1], unpack(pairs, first, math.min(first + 999, #pairs)))
end
redis.call('HDEL', KEYS[1], 'intent')
redis.call('HSET', KEYS[1], 'writer', ARGV[2], 'mark', ARGV[3], 'position', ARGV[4])
redis.call('ZREM', KEYS[2], 'writer' .. held)
redis.call('ZADD', KEYS[2], 0, 'writer' .. ARGV[2])
return 1
