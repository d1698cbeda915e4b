-- Reserves starts by the law of telecmi_async/pacing/law.py, by the server's own clock.
-- Arguments: prefix, longest wait (microseconds), most starts, then pairs of a limit's name and its
-- interval. Returns how many microseconds to wait for the first start, and how many starts there
-- are, each as far from the one before as the longest interval.
-- Keys, all of which begin with the limits' prefix and expire when they are of no more use:
--   pace:KEY      when the next start of a limit is due, in microseconds since 1970
--   channels:KEY  the holders of channels, by the time at which each lease ends
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
