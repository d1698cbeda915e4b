-- Releases a channel. Arguments: prefix, name, holder. Keys: see reserve.lua.
return redis.call('ZREM', ARGV[1] .. ':channels:' .. ARGV[2], ARGV[3])
