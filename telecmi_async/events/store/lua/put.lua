-- Keeps an event, or claims one if its head is empty; returns 0 if it is a repeat. One atomic step.
-- Arguments: see the local names below.
-- Keys, all of which begin with the store's prefix and expire:
--   event:KEY      an event: whether it is matched, its token, its head, its payload
--   name:ID        the keys of the events that have an id, in their order
--   seen           the keys of matched events, by the time at which they are forgotten
--   matched        the heads of matched events, by their time of arrival
--   unmatched      those of unmatched events
--   matched:bytes  their size; unmatched has one as well
--   count          how many there were, which gives them their order
--   events         the channel on which heads are published
-- A head is [key, size, id, ...] in JSON. It has no payload, and no phone number. The token tells a
-- request that was sent again from a repeat of the event.
local prefix, key, token, matched, head, body = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local kept_for, unmatched_for, remembered = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local limits = {
  matched = {tonumber(ARGV[10]), tonumber(ARGV[11])},
  unmatched = {tonumber(ARGV[12]), tonumber(ARGV[13])},
}
local remember = tonumber(ARGV[14])
local call = redis.call
local clock = call('TIME')
local now = clock[1] * 1000000 + clock[2]
local event, seen = prefix .. ':event:' .. key, prefix .. ':seen'

local function forget(pool, old)
  if call('ZREM', prefix .. ':' .. pool, old) == 0 then return end
  local fields = cjson.decode(old)
  call('DECRBY', prefix .. ':' .. pool .. ':bytes', string.format('%d', fields[2]))
  call('DEL', prefix .. ':event:' .. fields[1])
  for i = 3, #fields do call('ZREM', prefix .. ':name:' .. fields[i], fields[1]) end
end

local function trim(pool, before)
  local name = prefix .. ':' .. pool
  while true do
    local oldest = call('ZRANGE', name, 0, 0, 'WITHSCORES')
    if not oldest[1] then
      call('DEL', name .. ':bytes')
      return
    end
    local size = tonumber(call('GET', name .. ':bytes') or 0)
    if tonumber(oldest[2]) > before and call('ZCARD', name) <= limits[pool][1]
      and size <= limits[pool][2] then return end
    forget(pool, oldest[1])
  end
end

trim('matched', now - 1000 * kept_for)
trim('unmatched', now - 1000 * unmatched_for)
call('ZREMRANGEBYSCORE', seen, '-inf', now)

local kept = call('GET', event)
if call('ZSCORE', seen, key) or (kept and matched == '0') then
  return kept and string.sub(kept, 2, 1 + #token) == token and 1 or 0
end
if kept then
  local old, payload = string.match(string.sub(kept, 2 + #token), '^([^\n]*)\n(.*)$')
  if head == '' then head, body = old, payload end
  forget('unmatched', old)
  forget('matched', old)
end
if matched == '1' then
  call('ZADD', seen, now + 1000 * remembered, key)
  call('ZREMRANGEBYRANK', seen, 0, -1 - remember)
  call('PEXPIRE', seen, remembered)
end
if head == '' then return 1 end

local pool = matched == '1' and 'matched' or 'unmatched'
local life = matched == '1' and kept_for or unmatched_for
local fields = cjson.decode(head)
local order = call('INCR', prefix .. ':count')
call('PEXPIRE', prefix .. ':count', kept_for)
call('SET', event, matched .. token .. head .. '\n' .. body, 'PX', life)
if call('ZADD', prefix .. ':' .. pool, now, head) == 1 then
  call('INCRBY', prefix .. ':' .. pool .. ':bytes', string.format('%d', fields[2]))
end
call('PEXPIRE', prefix .. ':' .. pool, life)
call('PEXPIRE', prefix .. ':' .. pool .. ':bytes', life)
for i = 3, #fields do
  call('ZADD', prefix .. ':name:' .. fields[i], order, key)
  call('PEXPIRE', prefix .. ':name:' .. fields[i], kept_for)
end
trim(pool, 0)
call('PUBLISH', prefix .. ':events', head)
return 1
