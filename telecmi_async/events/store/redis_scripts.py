"""What the server itself does with events, each in one step that nobody can come between.

The keys, all of which begin with the store's prefix:

================  =====================================================================
``event:KEY``     an event: whether it is ours, who wrote it, its head, its payload
``name:ID``       the keys of the events that have an id, in their order
``seen``          the keys of our events, by the time at which they may be forgotten
``ours``          the heads of our events that are kept, by the time at which they came
``strays``        those of the others
``ours:bytes``    their size; there is one for ``strays`` as well
``count``         how many there were, which gives them their order
``events``        the channel on which heads are published
================  =====================================================================

A head is ``[key, size, id, …]`` in JSON. It has no payload, and no phone number. All keys have
an expiry.
"""

from __future__ import annotations

from typing import Final

__all__ = ["FILE", "FIND_LUA"]

#: Keeps an event, or claims one if its head is empty; 0 if it is a repeat.
FILE: Final = """
local prefix, key, token, ours, head, body = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local kept_for, straying, remembered = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local bounds = {
  ours = {tonumber(ARGV[10]), tonumber(ARGV[11])},
  strays = {tonumber(ARGV[12]), tonumber(ARGV[13])},
}
local remember = tonumber(ARGV[14])
local call = redis.call
local clock = call('TIME')
local now = clock[1] * 1000000 + clock[2]
local event, seen = prefix .. ':event:' .. key, prefix .. ':seen'

local function forget(pool, old)
  if call('ZREM', prefix .. ':' .. pool, old) == 0 then return end
  local told = cjson.decode(old)
  call('DECRBY', prefix .. ':' .. pool .. ':bytes', string.format('%d', told[2]))
  call('DEL', prefix .. ':event:' .. told[1])
  for i = 3, #told do call('ZREM', prefix .. ':name:' .. told[i], told[1]) end
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
    if tonumber(oldest[2]) > before and call('ZCARD', name) <= bounds[pool][1]
      and size <= bounds[pool][2] then return end
    forget(pool, oldest[1])
  end
end

trim('ours', now - 1000 * kept_for)
trim('strays', now - 1000 * straying)
call('ZREMRANGEBYSCORE', seen, '-inf', now)

local kept = call('GET', event)
if call('ZSCORE', seen, key) or (kept and ours == '0') then
  return kept and string.sub(kept, 2, 1 + #token) == token and 1 or 0
end
if kept then
  local old, payload = string.match(string.sub(kept, 2 + #token), '^([^\\n]*)\\n(.*)$')
  if head == '' then head, body = old, payload end
  forget('strays', old)
  forget('ours', old)
end
if ours == '1' then
  call('ZADD', seen, now + 1000 * remembered, key)
  call('ZREMRANGEBYRANK', seen, 0, -1 - remember)
  call('PEXPIRE', seen, remembered)
end
if head == '' then return 1 end

local pool = ours == '1' and 'ours' or 'strays'
local life = ours == '1' and kept_for or straying
local told = cjson.decode(head)
local order = call('INCR', prefix .. ':count')
call('PEXPIRE', prefix .. ':count', kept_for)
call('SET', event, ours .. token .. head .. '\\n' .. body, 'PX', life)
if call('ZADD', prefix .. ':' .. pool, now, head) == 1 then
  call('INCRBY', prefix .. ':' .. pool .. ':bytes', string.format('%d', told[2]))
end
call('PEXPIRE', prefix .. ':' .. pool, life)
call('PEXPIRE', prefix .. ':' .. pool .. ':bytes', life)
for i = 3, #told do
  call('ZADD', prefix .. ':name:' .. told[i], order, key)
  call('PEXPIRE', prefix .. ':name:' .. told[i], kept_for)
end
trim(pool, 0)
call('PUBLISH', prefix .. ':events', head)
return 1
"""

#: Returns the events that any of some ids has, each after the number that gives its order.
FIND_LUA: Final = """
local found, known = {}, {}
for i = 2, #ARGV do
  local name = ARGV[1] .. ':name:' .. ARGV[i]
  local keys = redis.call('ZRANGE', name, 0, -1, 'WITHSCORES')
  for j = 1, #keys, 2 do
    if not known[keys[j]] then
      local value = redis.call('GET', ARGV[1] .. ':event:' .. keys[j])
      if value then
        known[keys[j]] = true
        found[#found + 1] = keys[j + 1]
        found[#found + 1] = value
      else
        redis.call('ZREM', name, keys[j])
      end
    end
  end
end
return found
"""
