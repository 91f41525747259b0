-- Gives a job that failed or was cancelled a new life.
-- ARGV: 6 id
-- Answers: {'ok', created_at} | {'exists', status} | {'unknown'}
local id = ARGV[6]
local job = load(id)
if not job then return { 'unknown' } end
local state = ended(job)
if state == 'completed' or not state then return { 'exists', state or job.status } end
adopt_end(id, job)
leave(id, job)
local created_at = iso(NOW)
if created_at == job.created_at then created_at = iso(NOW + 1) end
redis.call('HDEL', job_key(id), 'final', 'result', 'claim', 'done', 'error', 'failure_type', 'failure_reason', 'stalled',
  'handed_on', 'attempt', 'avoid', 'cancel_requested', 'class', 'order', 'life', 'progress', 'progress_message',
  'progress_at', 'service_job_id', 'started_at', 'failed_at', 'cancelled_at')
redis.call('HSET', job_key(id), 'status', 'pending', 'created_at', created_at, 'worker_id', '', 'retry_count', '0')
redis.call('ZREM', key('jobs:finished'), id)
redis.call('ZREM', key('jobs:dead'), id)
if REFERENCE then redis.call('HDEL', key('jobs:failed'), id) end
redis.call('DEL', key('job:events:' .. id))
local fresh = load(id)
fresh.order = int((1023 - math.max(0, math.min(1023, number(fresh.priority) or 50))) * T43 + NOW)
event(fresh, 'job_submitted', { 'service', fresh.service_required or '', 'message', 'replayed' })
enqueue(id, fresh)
return { 'ok', created_at }
