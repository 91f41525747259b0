-- A restarted agent takes over what its earlier process held, and so fences that process, or takes back what has waited
-- since that one's lease ran out. A job that kills its worker each time must not do so for ever; one that gets further
-- between two deaths is not to blame (see progress).
-- ARGV: 6 id, 7 old token, 8 the life it held the job in, 9 new token, 10 lease ms, 11 most stalls
-- Answers: {'ok', attempt, life, service job id, payload bytes} | {'given_up'} | {'lost'}
local id, old, life, new, lease = ARGV[6], ARGV[7], ARGV[8], ARGV[9], tonumber(ARGV[10])
local worker = worker_of(new)
local job = load(id)
if not job or worker_of(old) ~= worker then return { 'lost' } end
local service_job = job.service_job_id or ''
if held(job, old) then
  local known = redis.call('HMGET', job_key(id), 'takeovers', 'takeovers_at', 'progress')
  local takeovers = (number(known[1]) or 0) + 1
  -- One that is to be cancelled ends as soon as its engine has stopped.
  local most = job.cancel_requested and math.huge or tonumber(ARGV[11])
  if give_up(id, job, 'takeovers', takeovers, most) then return { 'given_up' } end
  local best = math.max(number(known[2]) or 0, number(known[3]) or 0)
  redis.call('HSET', job_key(id), 'claim', new, 'takeovers', int(takeovers), 'takeovers_at', json_text(best))
  event(job, 'reattached', { 'message', 'taken over by the restarted worker', 'takeovers', takeovers })
elseif mine(job, old, 0, life) then
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
