"""What the server itself does with limits, each in one step, by its own clock.

The keys, all of which begin with the limits' prefix, and expire when they say nothing more:

===================  ==================================================================
``pace:KEY``         when the next start is due under a limit, in microseconds since 1970
``channels:KEY``     who holds channels, by the time at which each lease is over
===================  ==================================================================
"""

from __future__ import annotations

from typing import Final

#: Reserves starts under all of some limits: how many microseconds to wait for the first one, and
#: how many there are, each as far from the one before as the longest interval says.
RESERVE_LUA: Final = """
local prefix, longest, most = ARGV[1] .. ':pace:', tonumber(ARGV[2]), tonumber(ARGV[3])
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local start, apart = now, 0
for i = 4, #ARGV, 2 do
  start = math.max(start, tonumber(redis.call('GET', prefix .. ARGV[i]) or 0))
  apart = math.max(apart, tonumber(ARGV[i + 1]))
end
local wait = start - now
if wait > longest then return {0, 0} end
local count = math.min(most, 1 + math.floor((longest - wait) / apart))
local last = start + apart * (count - 1)
for i = 4, #ARGV, 2 do
  local due = last + tonumber(ARGV[i + 1])
  local life = math.max(1, math.ceil((due - now) / 1000))
  redis.call('SET', prefix .. ARGV[i], string.format('%.3f', due), 'PX', string.format('%d', life))
end
return {math.ceil(wait), count}
"""

#: Leases a channel, or keeps one that is held; 0 if all are taken.
LEASE_LUA: Final = """
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
"""

#: Gives a channel back.
FREE_LUA: Final = """
return redis.call('ZREM', ARGV[1] .. ':channels:' .. ARGV[2], ARGV[3])
"""
