-- Returns the events that have any of some ids, each after the number that gives its order.
-- Arguments: prefix, then the ids. Keys: see put.lua.
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
