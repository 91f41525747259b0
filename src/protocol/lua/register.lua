-- Registration and heartbeat in one: the whole record again each time, so that nothing stays half-written for long.
-- ARGV: 6 worker, 7 instance ('' at the start of a process: it gets one and wins), 8 nonce, 9 time to live s,
-- 10 job fields that this worker's matching reads (comma between), then names and values of the hash
-- Answers: {'ok', instance, new class fields, desired state or '', since, by} | {'superseded', instance}
local worker, instance = ARGV[6], ARGV[7]
local hash = key('worker:' .. worker)
local present = redis.pcall('HGET', hash, 'instance')
if type(present) ~= 'string' then present = '' end
if instance == '' then
  instance = string.format('%s%06d-%s', TIME[1], TIME[2], ARGV[8])
elseif present > instance then
  return { 'superseded', present }
end
local fields = { 'instance', instance, 'last_heartbeat', iso(NOW) }
if ARGV[7] == '' then
  fields[#fields + 1] = 'connected_at'
  fields[#fields + 1] = iso(NOW)
end
for i = 11, #ARGV do fields[#fields + 1] = ARGV[i] end
redis.call('HSET', hash, unpack(fields))
redis.call('HSETNX', hash, 'connected_at', iso(NOW))
redis.call('EXPIRE', hash, math.floor(tonumber(ARGV[9]) * 2))
redis.call('SET', key('worker:' .. worker .. ':heartbeat'), iso(NOW), 'EX', ARGV[9])
redis.call('SADD', key('workers:active'), worker)
-- An older process of this id looks at once instead of at its next heartbeat.
if ARGV[7] == '' then publish('jobs:workers:started', { 'worker', worker }) end
local added = 0
for name in string.gmatch(ARGV[10], '[^,]+') do added = added + redis.call('SADD', key('jobs:class:fields'), name) end
return { 'ok', instance, int(added), wanted(worker) }
