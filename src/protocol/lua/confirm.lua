-- The agent has stopped the engine's work of a cancelled job.
-- ARGV: 6 id, 7 token
-- Answers: {'ok'} | {'already'} | {'lost', state}
local id, token = ARGV[6], ARGV[7]
local job = load(id)
if not job then return { 'lost', 'gone' } end
local state, by = ended(job)
if state then
  redis.call('HDEL', active_key(worker_of(token)), id)
  adopt_end(id, job)
  return { by == token and state == 'cancelled' and 'already' or 'lost', state }
end
if not held(job, token) then return { 'lost', job.status } end
finish_cancelled(id, job, token, job.cancel_requested or 'cancelled')
return { 'ok' }
