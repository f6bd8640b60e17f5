-- Second phase of a batch: changes the claims on the shard's identifiers. Doing it again changes nothing.
--
-- KEYS[1]   the shard
-- ARGV[1]   the writer field that must be there
-- ARGV[2]   the writer field to put there
-- ARGV[3:]  for each identifier: its hash; the ids of the contacts whose claims to remove, each as its length
--           (2 bytes) and the id; the claims to add, in their stored form, at most one of a contact
-- Returns   1; or, if the writer field is another, that field (empty for none), and changes nothing.
local byte, sub = string.byte, string.sub
local held = redis.call('HGET', KEYS[1], 'writer') or ''
if held ~= ARGV[1] then return held end

-- Returns where the claim that begins at a place ends. A claim is 8 bytes of time, then length and id as in `ids`.
local function end_of(claims, at)
  local high, low = byte(claims, at + 8, at + 9)
  return at + 9 + high * 256 + low
end

-- Adds claims to a list, without those of the contacts in `gone`.
local function add(list, claims, gone)
  local at = 1
  while at <= #claims do
    local stop = end_of(claims, at)
    if not gone[sub(claims, at + 8, stop)] then list[#list + 1] = sub(claims, at, stop) end
    at = stop + 1
  end
end

-- Returns whether claim `a` wins over `b` (C3): the later, then the greater id. It compares bytes itself, because Lua's
-- comparison of strings follows the server's locale.
local function beats(a, b)
  for at = 1, 8 do
    local x, y = byte(a, at), byte(b, at)
    if x ~= y then return x > y end
  end
  for at = 11, math.max(#a, #b) do
    local x, y = byte(a, at) or -1, byte(b, at) or -1
    if x ~= y then return x > y end
  end
  return false
end

-- Returns the claim that wins and the others, one after the other.
local function elect(list)
  if #list == 0 then return '', '' end
  local best = 1
  for i = 2, #list do
    if beats(list[i], list[best]) then best = i end
  end
  return table.remove(list, best), table.concat(list)
end

for first = 3, #ARGV, 1500 do -- 500 identifiers at a time: unpack takes at most some thousand values
  local fields, put, drop = {}, {}, {}
  for i = first, math.min(first + 1499, #ARGV), 3 do fields[#fields + 1] = ARGV[i] end
  local old = redis.call('HMGET', KEYS[1], unpack(fields))
  for i, field in ipairs(fields) do
    local ids, coming = ARGV[first + 3 * i - 2], ARGV[first + 3 * i - 1]
    local was, others = old[i] or '', ''
    local now, others_now = coming, ''
    if was ~= coming then
      local only = was
      if was ~= '' and end_of(was, 1) < #was then
        only, others = sub(was, 1, -2), redis.call('HGET', KEYS[1], field .. '+')
      end
      if was ~= '' or (coming ~= '' and end_of(coming, 1) < #coming) then
        local gone, list, at = {}, {}, 1
        while at <= #ids do
          local high, low = byte(ids, at, at + 1)
          gone[sub(ids, at, at + 1 + high * 256 + low)] = true
          at = at + 2 + high * 256 + low
        end
        add(list, only, gone)
        add(list, others, gone)
        add(list, coming, {})
        now, others_now = elect(list)
        if others_now ~= '' then now = now .. '+' end
      end
    end
    if now == '' then
      if was ~= '' then drop[#drop + 1] = field end
    elseif now ~= was then
      put[#put + 1] = field
      put[#put + 1] = now
    end
    if others_now ~= others then -- seldom
      if others_now == '' then
        redis.call('HDEL', KEYS[1], field .. '+')
      else
        redis.call('HSET', KEYS[1], field .. '+', others_now)
      end
    end
  end
  if #put > 0 then redis.call('HSET', KEYS[1], unpack(put)) end
  if #drop > 0 then redis.call('HDEL', KEYS[1], unpack(drop)) end
end
redis.call('HSET', KEYS[1], 'writer', ARGV[2])
return 1
