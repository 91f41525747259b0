-- Says what a worker is to do, for as long as nobody says otherwise; or says again what Redis may have lost.
-- ARGV: 6 worker, 7 state, 8 who says so, 9 '' or since when in ms: said again, and only if nothing newer is known
-- Answers: {state or '', since, by}, as it is now
local worker, state, by, since = ARGV[6], ARGV[7], ARGV[8], number(ARGV[9])
local hash = key('worker:' .. worker .. ':control')
local said, at = wanted(worker)
if since and (said ~= '' and tonumber(at) >= since) then return { wanted(worker) } end
local kind = redis.call('TYPE', hash).ok
if kind ~= 'hash' and kind ~= 'none' then redis.call('DEL', hash) end
redis.call('HSET', hash, 'state', state, 'at', int(since or NOW), 'by', by)
-- To go on is the rule, and needs no lasting record.
if state == 'running' then redis.call('EXPIRE', hash, 604800) else redis.call('PERSIST', hash) end
publish('jobs:workers:control', { 'worker', worker })
return { wanted(worker) }
