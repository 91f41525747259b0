-- A restarted agent takes over what its earlier process held, and so fences that process.
-- ARGV: 6 id, 7 old token, 8 new token, 9 lease ms
-- Answers: {'ok', attempt, life, service job id, payload bytes} | {'lost'}
local id, old, new, lease = ARGV[6], ARGV[7], ARGV[8], tonumber(ARGV[9])
local job = load(id)
if not job or worker_of(old) ~= worker_of(new) or not (held(job, old) or held(job, new)) then return { 'lost' } end
redis.call('HSET', job_key(id), 'claim', new)
set_lease(id, worker_of(new), new, job, lease)
if job.service_job_id then note_start(id, job, new, job.service_job_id) end
if job.claim ~= new then event(job, 'reattached', { 'message', 'taken over by the restarted worker' }) end
return { 'ok', int(job.attempts), job.created_at, job.service_job_id or '',
  tostring(redis.call('HSTRLEN', job_key(id), 'payload')) }
