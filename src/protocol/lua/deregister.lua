-- A worker leaves in order; an older process of the same id leaves nothing behind and takes nothing away.
-- ARGV: 6 worker, 7 instance
-- Answers: {'ok'} | {'superseded', instance}
local worker, instance = ARGV[6], ARGV[7]
local hash = key('worker:' .. worker)
local present = redis.pcall('HGET', hash, 'instance')
if type(present) == 'string' and present ~= instance then return { 'superseded', present } end
redis.call('DEL', hash, key('worker:' .. worker .. ':heartbeat'), key('jobs:wake:worker:' .. worker))
redis.call('SREM', key('workers:active'), worker)
if redis.call('HLEN', active_key(worker)) == 0 then redis.call('DEL', active_key(worker)) end
return { 'ok' }
