-- Second phase of a batch: changes the claims on the shard's identifiers. Doing it again changes nothing.
--
-- KEYS[1]   the shard
-- ARGV[1]   the writer field that must be there
-- ARGV[2]   the writer field to put there
-- ARGV[3:]  for each identifier: its hash; the ids of the contacts whose claims to remove, each as its length
--           (2 bytes) and the id; the claims to add, in their stored form
-- Returns   1; or, if the writer field is another, that field (empty for none), and changes nothing.
local held = redis.call('HGET', KEYS[1], 'writer') or ''
if held ~= ARGV[1] then return held end

-- Returns the claims without those of some contacts. A claim is 8 bytes of time, then length and id as in `ids`.
local function without(claims, ids)
  local gone, kept, at = {}, {}, 1
  while at <= #ids do
    local high, low = string.byte(ids, at, at + 1)
    local stop = at + 2 + high * 256 + low
    gone[string.sub(ids, at, stop - 1)] = true
    at = stop
  end
  at = 1
  while at <= #claims do
    local high, low = string.byte(claims, at + 8, at + 9)
    local stop = at + 10 + high * 256 + low
    if not gone[string.sub(claims, at + 8, stop - 1)] then kept[#kept + 1] = string.sub(claims, at, stop - 1) end
    at = stop
  end
  return table.concat(kept)
end

for first = 3, #ARGV, 1500 do -- 500 identifiers at a time: unpack takes at most some thousand values
  local fields, put, drop = {}, {}, {}
  for i = first, math.min(first + 1499, #ARGV), 3 do fields[#fields + 1] = ARGV[i] end
  local old = redis.call('HMGET', KEYS[1], unpack(fields))
  for i, field in ipairs(fields) do
    local ids, coming = ARGV[first + 3 * i - 2], ARGV[first + 3 * i - 1]
    local was, now = old[i] or '', coming
    if was ~= '' and was ~= coming then now = without(was, ids) .. coming end
    if now == '' then
      if was ~= '' then drop[#drop + 1] = field end
    elseif now ~= was then
      put[#put + 1] = field
      put[#put + 1] = now
    end
  end
  if #put > 0 then redis.call('HSET', KEYS[1], unpack(put)) end
  if #drop > 0 then redis.call('HDEL', KEYS[1], unpack(drop)) end
end
redis.call('HSET', KEYS[1], 'writer', ARGV[2])
return 1
