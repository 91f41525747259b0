-- Accepts a new job: hash, class, queue, event, hint, all or nothing.
-- ARGV: 6 id, 7 class, 8 its definition, 9 priority 0-1023, 10 time of order in ms or '', 11 due in ms (0 = at once),
-- 12 most waiting jobs, 13 most classes, 14 job fields that the class was made with (sorted, comma between),
-- 15 payload for the hint as JSON, 16 requirements as JSON, then names and values of the hash
-- Answers: {'ok', created_at} | {'exists', status} | {'full', waiting} | {'classes_full', most} | {'fields', names...}
local id, class, definition = ARGV[6], ARGV[7], ARGV[8]
local priority, at, due = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])

local present = redis.pcall('HMGET', job_key(id), 'status', 'created_at', 'final')
if present.err then return { 'exists', '' } end
if redis.call('EXISTS', job_key(id)) == 1 then
  return { 'exists', ended({ status = present[1] or '', created_at = present[2] or '', final = present[3] }) or present[1] or '' }
end
local names = redis.call('SMEMBERS', key('jobs:class:fields'))
table.sort(names)
if table.concat(names, ',') ~= ARGV[14] then return { 'fields', unpack(names) } end
local backlog = redis.call('ZCARD', PENDING)
local waiting_jobs = backlog + redis.call('ZCARD', DELAYED)
if waiting_jobs >= tonumber(ARGV[12]) then return { 'full', int(waiting_jobs) } end
if not bear(class, definition, tonumber(ARGV[13])) then return { 'classes_full', ARGV[13] } end

local created_at = iso(NOW)
local order = int((1023 - priority) * T43 + (at or NOW))
local fields = { 'id', id, 'created_at', created_at, 'status', 'pending', 'class', class, 'order', order, 'life', created_at,
  'retry_count', '0' }
for i = 17, #ARGV do fields[#fields + 1] = ARGV[i] end
redis.call('HSET', job_key(id), unpack(fields))
local job = load(id)
-- A stream that an earlier life left behind would end this one's readers at once.
redis.call('DEL', key('job:events:' .. id))
if backlog < 100000 then
  event(job, 'job_submitted', { 'service', job.service_required or '', 'priority', priority })
end
if due > NOW then redis.call('ZADD', DELAYED, int(due), id) else enqueue(id, job) end
if REFERENCE then
  local hint = { 'job_id', id, 'service_required', job.service_required or '', 'priority', number(job.priority) or 50,
    'payload', { json = ARGV[15] }, 'requirements', { json = ARGV[16] }, 'customer_id', job.customer_id or '',
    'created_at', created_at, 'status', 'pending', 'timestamp', { json = int(NOW) } }
  publish('job_submitted', workflow_numbers(job, hint))
end
return { 'ok', created_at }
