-- A restarted agent takes over what its earlier process held, and so fences that process. That process has been lost, as
-- with a lease that ran out: a job that kills its worker each time must not do so for ever.
-- ARGV: 6 id, 7 old token, 8 new token, 9 lease ms, 10 most stalls
-- Answers: {'ok', attempt, life, service job id, payload bytes} | {'given_up', service job id} | {'lost'}
local id, old, new, lease = ARGV[6], ARGV[7], ARGV[8], tonumber(ARGV[9])
local job = load(id)
if not job or worker_of(old) ~= worker_of(new) or not (held(job, old) or held(job, new)) then return { 'lost' } end
local service_job = job.service_job_id or ''
if job.claim ~= new then
  -- One that is to be cancelled ends as soon as its engine has stopped.
  local stalled = lose(id, job, job.cancel_requested and math.huge or tonumber(ARGV[10]))
  if not stalled then return { 'given_up', service_job } end
  redis.call('HSET', job_key(id), 'claim', new, 'stalled', int(stalled))
  event(job, 'reattached', { 'message', 'taken over by the restarted worker', 'stalled', stalled })
end
set_lease(id, worker_of(new), new, job, lease)
return { 'ok', int(job.attempts), job.created_at, service_job, tostring(redis.call('HSTRLEN', job_key(id), 'payload')) }
