-- Somebody wants a job stopped.
-- ARGV: 6 id, 7 reason
-- Answers: {'cancelled'} | {'requested', worker} | {'ended', state} | {'unknown'}
local id, reason = ARGV[6], ARGV[7]
local job = load(id)
if not job then return { 'unknown' } end
local state = ended(job)
if state then
  adopt_end(id, job)
  return { 'ended', state }
end
local worker = job.worker_id or ''
local busy = job.status == 'assigned' or job.status == 'in_progress'

local function hint()
  publish('cancel_job', { 'job_id', id, 'worker_id', worker, 'reason', reason, 'timestamp', { json = int(NOW) } })
end

if busy and job.claim and held(job, job.claim) and redis.call('ZSCORE', LEASES, id) then
  if not job.cancel_requested then
    redis.call('HSET', job_key(id), 'cancel_requested', reason)
    event(job, 'cancel_requested', { 'message', reason })
  end
  hint()
  return { 'requested', worker }
end
finish_cancelled(id, job, '-', reason)
if busy and worker ~= '' then hint() end
return { 'cancelled' }
