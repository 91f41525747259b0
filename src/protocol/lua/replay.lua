-- Gives a job that failed or was cancelled a new life.
-- ARGV: 6 id
-- Answers: {'ok', created_at} | {'exists', status} | {'unknown'}
local id = ARGV[6]
local job = load(id)
if not job then return { 'unknown' } end
local state = ended(job)
if state == 'completed' or not state then return { 'exists', state or job.status } end
adopt_end(id, job)
local at = NOW
local created_at = iso(at)
if created_at == job.created_at then
  at = at + 1
  created_at = iso(at)
end
-- The count of claims goes on: an engine or a store may still know an attempt of the earlier life by its number.
redis.call('HDEL', job_key(id), 'final', 'result', 'claim', 'done', 'error', 'failure_type', 'failure_reason', 'stalled',
  'takeovers', 'takeovers_at',
  'handed_on', 'avoid', 'refused_by', 'cancel_requested', 'order', 'life', 'progress', 'progress_message', 'progress_at',
  'service_job_id', 'started_at', 'failed_at', 'cancelled_at')
redis.call('HSET', job_key(id), 'status', 'pending', 'created_at', created_at, 'worker_id', '', 'retry_count', '0')
local before = number(job.order)
if before then
  -- The priority that it had, and the time that counts in this life.
  local t = number(job.workflow_datetime)
  if not t or t <= 0 or t % 1 ~= 0 then t = at end
  redis.call('HSET', job_key(id), 'life', created_at,
    'order', int(before - before % T43 + math.min(t, T43 - 1)))
end
redis.call('ZREM', key('jobs:finished'), id)
redis.call('ZREM', key('jobs:dead'), id)
if REFERENCE then redis.call('HDEL', key('jobs:failed'), id) end
redis.call('DEL', key('job:events:' .. id))
local fresh = load(id)
event(fresh, 'job_submitted', { 'service', fresh.service_required or '', 'message', 'replayed' })
enqueue(id, fresh)
return { 'ok', created_at }
