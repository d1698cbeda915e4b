-- Leases a channel, or keeps one that is held, by the server's own clock; returns 0 if all are
-- taken. Arguments: prefix, name, holder, limit, microseconds. Keys: see reserve.lua.
local channels, holder = ARGV[1] .. ':channels:' .. ARGV[2], ARGV[3]
local limit, seconds = tonumber(ARGV[4]), tonumber(ARGV[5])
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
redis.call('ZREMRANGEBYSCORE', channels, '-inf', now)
local held = redis.call('ZSCORE', channels, holder) and 1 or 0
if redis.call('ZCARD', channels) - held >= limit then return 0 end
redis.call('ZADD', channels, now + seconds, holder)
local last = redis.call('ZREVRANGE', channels, 0, 0, 'WITHSCORES')
redis.call('PEXPIREAT', channels, string.format('%d', math.ceil(tonumber(last[2]) / 1000)))
return 1
