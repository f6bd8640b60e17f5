-- Second phase of a batch: changes the claims on the shard's identifiers. Doing it again changes nothing.
--
-- KEYS[1]  the shard
-- KEYS[2]  the claims on its shared identifiers
-- ARGV[1]  the writer field that must be there
-- ARGV[2]  the writer field to put there
-- ARGV[3]  the claims to remove: for each the identifier's hash, the length of the contact's id (2 bytes), the claim
--          (8 bytes of time, the id)
-- ARGV[4]  the claims to add, alike
-- Returns  1; or, if the writer field is another, that field (empty for none), and changes nothing; or nil if KEYS[2]
--          does not belong to KEYS[1], or an identifier's field holds no claim.
--
-- An identifier's field is 0 and its only claim, or 1 and the claim that wins: then KEYS[2] has all claims on it, that one
-- too, as members of the hash and the claim. Such a member is the greatest of its identifier if its claim wins (C3).
local ALONE, SHARED = '\0', '\1'
local byte, sub = string.byte, string.sub
local held = redis.call('HGET', KEYS[1], 'writer') or ''
if held ~= ARGV[1] then return held end
if not redis.call('ZSCORE', KEYS[2], 'writer' .. held) then return false end

local fields, coming, gone = {}, {}, {} -- the identifiers that change; of each its claim, or an array of several

local function read(claims, into)
  local at = 1
  while at <= #claims do
    local field, high, low = sub(claims, at, at + 15), byte(claims, at + 16, at + 17)
    local stop = at + 25 + high * 256 + low
    local claim, known = sub(claims, at + 18, stop), into[field]
    if not known then
      if not coming[field] then fields[#fields + 1] = field end
      into[field] = claim
    elseif type(known) == 'string' then
      into[field] = {known, claim}
    else
      known[#known + 1] = claim
    end
    at = stop + 1
  end
end
read(ARGV[4], coming)
read(ARGV[3], gone)

local function list(claims) return type(claims) == 'table' and claims or {claims} end

-- Calls ZADD or ZREM with members, so many at a time that unpack takes them.
local function change(command, field, claims)
  for first = 1, #claims, 1000 do
    local parts = {}
    for i = first, math.min(first + 999, #claims) do
      if command == 'ZADD' then parts[#parts + 1] = 0 end
      parts[#parts + 1] = field .. claims[i]
    end
    redis.call(command, KEYS[2], unpack(parts))
  end
end

-- Returns what an identifier's field becomes, nil for nothing. `was` is what it is, or false.
local function changed(field, was, gone, coming)
  if was and byte(was) == 1 then
    change('ZREM', field, gone)
  else
    local only = was and sub(was, 2)
    for _, claim in ipairs(gone) do
      if claim == only then only = nil end
    end
    if not only and #coming <= 1 then return coming[1] and ALONE .. coming[1] end
    if only and (#coming == 0 or (#coming == 1 and coming[1] == only)) then return was end
    if only then change('ZADD', field, {only}) end
  end
  change('ZADD', field, coming)
  -- No byte of an id is 255, so this bound is above all claims on the identifier.
  local best = redis.call('ZREVRANGEBYLEX', KEYS[2], '(' .. field .. string.rep('\255', 9), '[' .. field, 'LIMIT', 0, 2)
  if #best == 2 then return SHARED .. sub(best[1], 17) end
  if #best == 0 then return nil end
  redis.call('ZREM', KEYS[2], best[1])
  return ALONE .. sub(best[1], 17)
end

for first = 1, #fields, 1000 do
  local last, put, drop = math.min(first + 999, #fields), {}, {}
  local old = redis.call('HMGET', KEYS[1], unpack(fields, first, last))
  for i = first, last do
    local field, was, now = fields[i], old[i - first + 1]
    local adds, removes = coming[field], gone[field]
    if not was and type(adds) == 'string' then -- nearly always while an index is built
      now = ALONE .. adds
    else
      if was and (#was < 9 or byte(was) > 1) then return false end
      now = changed(field, was, list(removes), list(adds))
    end
    if not now then
      if was then drop[#drop + 1] = field end
    elseif now ~= was then
      put[#put + 1] = field
      put[#put + 1] = now
    end
  end
  if #put > 0 then redis.call('HSET', KEYS[1], unpack(put)) end
  if #drop > 0 then redis.call('HDEL', KEYS[1], unpack(drop)) end
end
redis.call('HSET', KEYS[1], 'writer', ARGV[2])
redis.call('ZREM', KEYS[2], 'writer' .. held)
redis.call('ZADD', KEYS[2], 0, 'writer' .. ARGV[2])
return 1
