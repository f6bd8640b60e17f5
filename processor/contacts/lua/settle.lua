-- Third phase of a batch: makes the intent the contacts' entries, and moves the position with it.
--
-- KEYS[1]   the shard
-- ARGV[1]   the writer field that must be there
-- ARGV[2]   the writer field to put there
-- ARGV[3]   the mark
-- ARGV[4]   the position
-- ARGV[5:]  pair by pair, a contact's hash and its entry (the hashes of its identifiers; empty for none)
-- Returns   1; or, if the writer field is another, that field (empty for none), and changes nothing.
local held = redis.call('HGET', KEYS[1], 'writer') or ''
if held ~= ARGV[1] then return held end
for first = 5, #ARGV, 1000 do
  local put, drop = {}, {}
  for i = first, math.min(first + 999, #ARGV), 2 do
    if ARGV[i + 1] == '' then
      drop[#drop + 1] = ARGV[i]
    else
      put[#put + 1] = ARGV[i]
      put[#put + 1] = ARGV[i + 1]
    end
  end
  if #put > 0 then redis.call('HSET', KEYS[1], unpack(put)) end
  if #drop > 0 then redis.call('HDEL', KEYS[1], unpack(drop)) end
end
redis.call('HDEL', KEYS[1], 'intent')
redis.call('HSET', KEYS[1], 'writer', ARGV[2], 'mark', ARGV[3], 'position', ARGV[4])
return 1
