-- Asserts everything that an agent holds: leases go on, a job that waited meanwhile is taken back.
-- ARGV: 6 lease ms, then for each job: id, token, attempt, life
-- Answers a word for each: ok | cancel | moved | lost
local lease, answers = tonumber(ARGV[6]), {}

local function renew(id, token, attempt, life)
  local worker = worker_of(token)
  local job = load(id)
  if not job or not mine(job, token, attempt, life) then
    if job then adopt_end(id, job) end
    local why = loss(job, token)
    if why == 'lost' then redis.call('HDEL', active_key(worker), id) end
    return why
  end
  if not held(job, token) then
    leave(id, job)
    job.worker_id = worker
    job.attempts = math.max(job.attempts, attempt)
    redis.call('HSET', job_key(id), 'status', job.service_job_id and 'in_progress' or 'assigned', 'worker_id', worker,
      'claim', token, 'attempt', int(job.attempts))
    -- Its holder was late, not lost.
    local stalled = number(job.stalled) or 0
    if stalled > 0 then redis.call('HSET', job_key(id), 'stalled', int(stalled - 1)) end
    event(job, 'reattached', { 'message', 'taken up again by ' .. worker })
  end
  set_lease(id, worker, token, job, lease)
  return job.cancel_requested and 'cancel' or 'ok'
end

for i = 7, #ARGV, 4 do
  answers[#answers + 1] = renew(ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3])
end
return answers
