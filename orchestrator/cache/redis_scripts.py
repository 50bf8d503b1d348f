"""What runs inside Redis, each in one step: no reader sees half a write, and a bound holds whoever writes.

KEYS and ARGV are named at the top of each script. `#!lua` lets Redis refuse a script before its first command when
memory is out, so that a refused one has changed nothing; `allow-oom` is for those that free memory or only reorder.
Names are kept as digests and put together with our own prefix: a forged one can name no key but ours.
"""

from __future__ import annotations

# At most so many entries go in one step, so that a smaller bound or a full memory never holds Redis for long.
MAX_DROPPED = 100

_DROP = """
local function drop(prefix, entry)
  local key = prefix .. 'entry:' .. entry
  local name = redis.call('TYPE', key).ok == 'hash' and redis.call('HGET', key, 'name')
  if name then redis.call('DEL', prefix .. 'name:' .. name) end
  redis.call('DEL', key)
end
"""

# Redis' own clock, so that replicas agree; microseconds, so that entries of one burst have an order.
_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
"""

GET = f"""#!lua flags=allow-oom
local prefix, entry = KEYS[1], ARGV[1]
local sealed = redis.call('HGET', prefix .. 'entry:' .. entry, 'sealed')
if sealed and redis.call('TYPE', prefix .. 'recent').ok == 'zset' then
  {_NOW}
  redis.call('ZADD', prefix .. 'recent', 'XX', now, entry)
end
return sealed
"""

# ARGV: entry, name, ttl_ms, longest_ttl_ms, max_entries, then the entry's fields and values
PUT = f"""#!lua
{_DROP}
{_NOW}
local prefix, entry, name = KEYS[1], ARGV[1], ARGV[2]
local ttl_ms, longest_ttl_ms, max_entries = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local key, recent = prefix .. 'entry:' .. entry, prefix .. 'recent'
drop(prefix, entry)
redis.call('HSET', key, 'name', name, unpack(ARGV, 6))
redis.call('PEXPIRE', key, ttl_ms)
redis.call('SET', prefix .. 'name:' .. name, entry, 'PX', ttl_ms)
if redis.call('TYPE', recent).ok ~= 'zset' then redis.call('DEL', recent) end
redis.call('ZADD', recent, now, entry)
redis.call('ZREMRANGEBYSCORE', recent, '-inf', now - longest_ttl_ms * 1000)
redis.call('PEXPIRE', recent, longest_ttl_ms)
local over = math.min(redis.call('ZCARD', recent) - max_entries, {MAX_DROPPED})
if over > 0 then
  local oldest = redis.call('ZPOPMIN', recent, over)
  for i = 1, #oldest, 2 do drop(prefix, oldest[i]) end
end
return 1
"""

# A tenth of the entries, the longest unused first; how many went.
MAKE_ROOM = f"""#!lua flags=allow-oom
{_DROP}
local prefix, recent = KEYS[1], KEYS[1] .. 'recent'
if redis.call('TYPE', recent).ok ~= 'zset' then return 0 end
local share = math.min(math.ceil(redis.call('ZCARD', recent) / 10), {MAX_DROPPED})
local oldest = redis.call('ZPOPMIN', recent, share)
for i = 1, #oldest, 2 do drop(prefix, oldest[i]) end
return #oldest / 2
"""

# ARGV: name
EVICT = f"""#!lua flags=allow-oom
{_DROP}
local prefix, name, recent = KEYS[1], ARGV[1], KEYS[1] .. 'recent'
local function is_named(entry)
  local key = prefix .. 'entry:' .. entry
  return redis.call('TYPE', key).ok == 'hash' and redis.call('HGET', key, 'name') == name
end
local is_kept = redis.call('TYPE', recent).ok == 'zset'
local alias = prefix .. 'name:' .. name
local entry = redis.call('TYPE', alias).ok == 'string' and redis.call('GET', alias)
if not entry and is_kept then
  -- Short of memory, Redis may have let go of the name alone, which nobody reads, and kept what is served.
  for _, each in ipairs(redis.call('ZRANGE', recent, 0, -1)) do
    if is_named(each) then entry = each break end
  end
end
if not entry or not is_named(entry) then return 0 end
drop(prefix, entry)
if is_kept then redis.call('ZREM', recent, entry) end
return 1
"""
