-- The engine is about to get the work: its id for it becomes durable first.
-- ARGV: 6 id, 7 token, 8 the engine's id
-- Answers: {'ok'} | {'cancel'} | {'moved'} | {'lost'}
local id, token, service_job = ARGV[6], ARGV[7], ARGV[8]
local job = load(id)
if not job or not held(job, token) then return { loss(job, token) } end
local first = job.status == 'assigned'
-- Other work of the same attempt begins anew.
if job.service_job_id and job.service_job_id ~= service_job then redis.call('HDEL', job_key(id), 'progress') end
redis.call('HSET', job_key(id), 'status', 'in_progress', 'service_job_id', service_job)
note_start(id, job, token, service_job)
if first then
  redis.call('HSET', job_key(id), 'started_at', iso(NOW))
  event(job, 'started', { 'service_job_id', service_job })
  tell_progress(job, 0, 'processing', 'Processing')
end
return { job.cancel_requested and 'cancel' or 'ok' }
