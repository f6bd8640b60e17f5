-- Hands a shard over to a new writer. Adds the intent of a batch that the last writer did not settle to the contacts'
-- entries, as records of no partition: they then name every claim that a contact may have, and say that a record of the
-- contact is to come.
--
-- KEYS[1]  the shard
-- KEYS[2]  the claims on its shared identifiers
-- ARGV[1]  the id of the writer that held it, 16 bytes, empty for none
-- ARGV[2]  the id of the new writer
-- Returns  {mark or nil, position or nil, stage} (8 bytes of stage); or, if another writer holds the shard, its
--          writer field, and changes nothing; or nil if KEYS[2] does not belong to KEYS[1].
local byte, sub = string.byte, string.sub
local held = redis.call('HGET', KEYS[1], 'writer') or ''
if sub(held, 1, 16) ~= ARGV[1] then return held end
if held == '' then
  redis.call('UNLINK', KEYS[2])
elseif not redis.call('ZSCORE', KEYS[2], 'writer' .. held) then
  return false
end
local stage = sub(held, 17)
if stage == '' then stage = string.rep('\0', 8) end

local intent = redis.call('HGET', KEYS[1], 'intent') or ''
local at = 1
while at <= #intent do -- contact's hash, length of its new records (4 bytes), the records
  local contact = sub(intent, at, at + 15)
  local b1, b2, b3, b4 = byte(intent, at + 16, at + 19)
  local stop = at + 19 + ((b1 * 256 + b2) * 256 + b3) * 256 + b4
  local entry, i = redis.call('HGET', KEYS[1], contact) or '', at + 20
  while i <= stop do -- a record: partition (2 bytes), 17 bytes, number of hashes (4 bytes), hashes
    local e1, e2, e3, e4 = byte(intent, i + 19, i + 22)
    local last = i + 22 + 16 * (((e1 * 256 + e2) * 256 + e3) * 256 + e4)
    local record = '\255\255' .. sub(intent, i + 2, last)
    if not string.find(entry, record, 1, true) then entry = entry .. record end -- the same batch may crash again
    i = last + 1
  end
  redis.call('HSET', KEYS[1], contact, entry)
  at = stop + 1
end
redis.call('HDEL', KEYS[1], 'intent')
redis.call('HSET', KEYS[1], 'writer', ARGV[2] .. stage)
redis.call('ZREM', KEYS[2], 'writer' .. held)
redis.call('ZADD', KEYS[2], 0, 'writer' .. ARGV[2] .. stage)
local found = redis.call('HMGET', KEYS[1], 'mark', 'position')
return {found[1], found[2], stage}
