-- Hands a shard over to a new writer. Adds the intent of a batch that the last writer did not settle to the contacts'
-- entries, as records of no partition: they then name every identifier on which a contact may have a claim, and say
-- that a record of the contact is to come.
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
  local known, parts, i = {}, {}, 1
  while i <= #entry do -- the entry's records: 19 bytes, number of hashes (4 bytes), hashes
    local e1, e2, e3, e4 = string.byte(entry, i + 19, i + 22)
    local last = i + 22 + 16 * (((e1 * 256 + e2) * 256 + e3) * 256 + e4)
    for j = i + 23, last, 16 do known[string.sub(entry, j, j + 15)] = true end
    i = last + 1
  end
  for i = at + 20, stop - 1, 16 do
    local identifier = string.sub(intent, i, i + 15)
    if not known[identifier] then parts[#parts + 1] = identifier end
  end
  local high, low = math.floor(#parts / 65536), #parts % 65536
  local count = string.char(math.floor(high / 256), high % 256, math.floor(low / 256), low % 256)
  redis.call('HSET', KEYS[1], contact, entry .. '\255\255' .. string.rep('\0', 17) .. count .. table.concat(parts))
  at = stop
end
redis.call('HDEL', KEYS[1], 'intent')
redis.call('HSET', KEYS[1], 'writer', ARGV[2] .. stage)
local found = redis.call('HMGET', KEYS[1], 'mark', 'position')
return {found[1], found[2], stage}
