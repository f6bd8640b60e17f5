-- Begins a build: removes all that a shard holds and marks it as incomplete.
--
-- KEYS[1]  the shard
-- KEYS[2]  the claims on its shared identifiers
-- ARGV[1]  the writer field that must be there
-- ARGV[2]  the writer field to put there
-- ARGV[3]  the mark
-- ARGV[4]  the position
-- Returns  1; or, if the writer field is another, that field (empty for none), and changes nothing.
local held = redis.call('HGET', KEYS[1], 'writer') or ''
if held ~= ARGV[1] then return held end
redis.call('UNLINK', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], 'writer', ARGV[2], 'mark', ARGV[3], 'position', ARGV[4])
redis.call('ZADD', KEYS[2], 0, 'writer' .. ARGV[2])
return 1
