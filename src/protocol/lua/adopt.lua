-- A restarted agent takes over what its earlier process held, and so fences that process, or takes back what has waited
-- since that one's lease ran out. That process has been lost either way: a job that kills its worker each time must not do
-- so for ever.
-- ARGV: 6 id, 7 old token, 8 new token, 9 lease ms, 10 most stalls
-- Answers: {'ok', attempt, life, service job id, payload bytes} | {'given_up'} | {'lost'}
local id, old, new, lease = ARGV[6], ARGV[7], ARGV[8], tonumber(ARGV[9])
local worker = worker_of(new)
local job = load(id)
if not job or worker_of(old) ~= worker then return { 'lost' } end
local service_job = job.service_job_id or ''
if held(job, old) then
  -- One that is to be cancelled ends as soon as its engine has stopped.
  local stalled = lose(id, job, job.cancel_requested and math.huge or tonumber(ARGV[10]))
  if not stalled then return { 'given_up' } end
  redis.call('HSET', job_key(id), 'claim', new, 'stalled', int(stalled))
  event(job, 'reattached', { 'message', 'taken over by the restarted worker', 'stalled', stalled })
elseif mine(job, old, 0, job.created_at) then
  -- Whoever took the lease away has counted the loss.
  leave(id, job)
  job.worker_id = worker
  redis.call('HSET', job_key(id), 'status', service_job ~= '' and 'in_progress' or 'assigned', 'worker_id', worker,
    'claim', new)
  event(job, 'reattached', { 'message', 'taken back by the restarted worker' })
elseif not held(job, new) then
  return { 'lost' }
end
set_lease(id, worker, new, job, lease)
if service_job ~= '' then note_start(id, job, new, service_job) end
return { 'ok', int(job.attempts), job.created_at, service_job, tostring(redis.call('HSTRLEN', job_key(id), 'payload')) }
