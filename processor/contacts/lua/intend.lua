-- First phase of a batch: notes which records the shard's contacts will have, before any claim is written, and returns
-- their present entries.
--
-- KEYS[1]  the shard
-- KEYS[2]  the claims on its shared identifiers
-- ARGV[1]  the writer field that must be there
-- ARGV[2]  the writer field to put there
-- ARGV[3]  the intent: for each contact its hash, the length of its new records (4 bytes), and these records
-- Returns  {number of a contact, its entry, ...}, counted from 0, of those that have one; or, if the writer field is
--          another, that field (empty for none), and changes nothing; or nil if KEYS[2] does not belong to KEYS[1].
local byte, sub, intent = string.byte, string.sub, ARGV[3]
local held = redis.call('HGET', KEYS[1], 'writer') or ''
if held ~= ARGV[1] then return held end
if not redis.call('ZSCORE', KEYS[2], 'writer' .. held) then return false end
local contacts, entries, at = {}, {}, 1
while at <= #intent do
  contacts[#contacts + 1] = sub(intent, at, at + 15)
  local b1, b2, b3, b4 = byte(intent, at + 16, at + 19)
  at = at + 20 + ((b1 * 256 + b2) * 256 + b3) * 256 + b4
end
for first = 1, #contacts, 1000 do -- unpack takes at most some thousand values
  local found = redis.call('HMGET', KEYS[1], unpack(contacts, first, math.min(first + 999, #contacts)))
  for i = 1, #found do
    if found[i] then
      entries[#entries + 1] = first + i - 2
      entries[#entries + 1] = found[i]
    end
  end
end
redis.call('HSET', KEYS[1], 'writer', ARGV[2], 'intent', intent)
redis.call('ZREM', KEYS[2], 'writer' .. held)
redis.call('ZADD', KEYS[2], 0, 'writer' .. ARGV[2])
return entries
