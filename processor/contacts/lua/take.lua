-- Hands a shard over to a new writer. Adds the intent of a batch that the last writer did not settle to the contacts'
-- entries: they then name every identifier on which a contact may have a claim.
--
-- KEYS[1]  the shard
-- ARGV[1]  the id of the writer that held it, 16 bytes, empty for none
-- ARGV[2]  the id of the new writer
-- Returns  {mark or nil, position or nil, stage} (8 bytes of stage); or, if another writer holds the shard, its
--          writer field, and changes nothing.
local held = redis.call('HGET', KEYS[1], 'writer') or ''
if string.sub(held, 1, 16) ~= ARGV[1] then return held end
local stage = string.sub(held, 17)
if stage == '' then stage = string.rep('\0', 8) end

local intent = redis.call('HGET', KEYS[1], 'intent') or ''
local at = 1
while at <= #intent do -- contact's hash, number of hashes (4 bytes), hashes of the identifiers it was to have
  local contact = string.sub(intent, at, at + 15)
  local b1, b2, b3, b4 = string.byte(intent, at + 16, at + 19)
  local stop = at + 20 + 16 * (((b1 * 256 + b2) * 256 + b3) * 256 + b4)
  local entry = redis.call('HGET', KEYS[1], contact) or ''
  local known, parts = {}, {entry}
  for i = 1, #entry, 16 do known[string.sub(entry, i, i + 15)] = true end
  for i = at + 20, stop - 1, 16 do
    local identifier = string.sub(intent, i, i + 15)
    if not known[identifier] then parts[#parts + 1] = identifier end
  end
  if #parts > 1 then redis.call('HSET', KEYS[1], contact, table.concat(parts)) end
  at = stop
end
redis.call('HDEL', KEYS[1], 'intent')
redis.call('HSET', KEYS[1], 'writer', ARGV[2] .. stage)
local found = redis.call('HMGET', KEYS[1], 'mark', 'position')
return {found[1], found[2], stage}
