-- Accepts a result, once in a life.
-- ARGV: 6 id, 7 token, 8 attempt, 9 life, 10 result JSON, 11 result in the reference's shape (JSON),
-- 12 attestation key or '', 13 attestation JSON
-- Answers: {'ok'} | {'already'} | {'lost', state}
local id, token, attempt, life = ARGV[6], ARGV[7], tonumber(ARGV[8]), ARGV[9]
local worker = worker_of(token)
local job = load(id)
if not job then return { 'lost', 'gone' } end
local state, by = ended(job)
if state then
  redis.call('HDEL', active_key(worker), id)
  if by == token then return { state == 'completed' and 'already' or 'lost', state } end
  adopt_end(id, job)
  return { 'lost', state }
end
if not mine(job, token, attempt, life) then return { 'lost', job.status } end
local previous = job.worker_id
leave(id, job)
if previous ~= worker then redis.call('HDEL', active_key(worker), id) end
job.worker_id = worker
job.attempts = math.max(job.attempts, attempt)
finish(id, job, 'completed', token, { 'worker_id', worker, 'claim', token, 'attempt', int(job.attempts), 'result', ARGV[10],
  'progress', '100' }, { 'progress', 100, 'message', 'completed', 'result', { json = ARGV[10] } })
redis.call('HDEL', job_key(id), 'error', 'failure_type', 'failure_reason')
if REFERENCE then
  if ARGV[12] ~= '' then redis.call('SET', key(ARGV[12]), ARGV[13], 'PX', int(RETENTION)) end
  local shape = { json = ARGV[11] }
  redis.call('HSET', key('jobs:completed'), id,
    json_object({ 'success', { json = 'true' }, 'data', shape, 'completed_at', iso(NOW) }))
  keep(key('jobs:completed'), '86400')
  publish('complete_job', workflow_numbers(job, { 'job_id', id, 'worker_id', worker, 'progress', 100, 'status', 'completed',
    'message', 'Job completed', 'result', shape, 'timestamp', { json = int(NOW) } }))
end
return { 'ok' }
