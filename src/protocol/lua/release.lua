-- Gives a job back unharmed: it waits at its old place and no attempt is charged.
-- ARGV: 6 id, 7 token, 8 '1' = its class is to be made anew, 9 reason for people
-- Answers: {'ok'} | {'cancelled'} | {'already', state} | {'lost', state}
local id, token, unindex, reason = ARGV[6], ARGV[7], ARGV[8] == '1', ARGV[9]
local job, answered = to_hand_back(id, token)
if not job then return answered end
leave(id, job)
redis.call('HSET', job_key(id), 'status', 'pending', 'worker_id', '', 'assigned_at', '', 'done', token)
redis.call('HDEL', job_key(id), 'claim', 'service_job_id')
forget_start(id, token)
event(job, 'released', { 'message', reason })
if unindex then job.class = nil end
enqueue(id, job)
return { 'ok' }
