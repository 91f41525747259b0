-- What must happen as time passes, by whoever calls: reap, promote, purge. At most 64 of each.
-- ARGV: 6 lease ms, 7 most stalls, then the caller's workers
-- Answers: {reaped, promoted, purged, lost for good, '1' if time jumped, then of each worker: desired state or '', since, by}
local lease, most_stalls = tonumber(ARGV[6]), tonumber(ARGV[7])
local last = number(redis.call('GET', key('jobs:tick')))
redis.call('SET', key('jobs:tick'), int(NOW))

local reaped, gone, jumped = 0, 0, '0'
if last and (NOW - last > lease / 2 or NOW < last) then
  -- Time stood still or jumped, or nobody looked: every holder gets one more lease, and none a shorter one than it has,
  -- for leases differ among agents. Where time went back, what is left of them means nothing.
  jumped = '1'
  local how = NOW < last and 'XX' or 'GT'
  for _, id in ipairs(redis.call('ZRANGE', LEASES, 0, -1)) do redis.call('ZADD', LEASES, how, int(NOW + lease), id) end
end

local function reap(id)
  local job = load(id)
  if not job then leave(id, {}) return end
  if adopt_end(id, job) then return end
  if not job.claim or not held(job, job.claim) then
    redis.call('ZREM', LEASES, id)
    return
  end
  reaped = reaped + 1
  if job.cancel_requested then
    finish_cancelled(id, job, '-', job.cancel_requested)
    return
  end
  local worker, stalled = job.worker_id, (number(job.stalled) or 0) + 1
  if give_up(id, job, 'stalled', stalled, most_stalls) then
    gone = gone + 1
    return
  end
  leave(id, job)
  -- `claim` stays: its holder may come back before anybody else takes the job.
  redis.call('HSET', job_key(id), 'status', 'pending', 'worker_id', '', 'assigned_at', '', 'stalled', int(stalled))
  event(job, 'stalled', { 'message', 'no sign of life from ' .. worker, 'stalled', stalled })
  enqueue(id, job)
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', LEASES, '-inf', int(NOW), 'LIMIT', 0, 64)) do reap(id) end
local promoted = promote_due(64)

local purged = 0
for _, name in ipairs({ 'jobs:finished', 'jobs:dead' }) do
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', key(name), '-inf', int(NOW), 'LIMIT', 0, 64)) do
    redis.call('ZREM', key(name), id)
    local job = load(id)
    local other = redis.call('ZSCORE', key(name == 'jobs:dead' and 'jobs:finished' or 'jobs:dead'), id)
    if job and ended(job) and not other then
      purged = purged + 1
      redis.call('DEL', job_key(id), key('job:events:' .. id))
    end
  end
end

local dying = redis.call('ZRANGEBYSCORE', IDLE, '-inf', int(NOW - CLASS_IDLE_MS), 'LIMIT', 0, 64)
for _, class in ipairs(dying) do
  redis.call('ZREM', IDLE, class)
  if redis.call('EXISTS', class_key(class)) == 0 then redis.call('HDEL', CLASSES, class) end
end
if #dying > 0 then new_version() end

-- One of the registered workers at random: ghosts leave the set in time, at no cost worth naming.
local someone = redis.call('SRANDMEMBER', key('workers:active'))
if someone and redis.call('EXISTS', key('worker:' .. someone)) == 0 then redis.call('SREM', key('workers:active'), someone) end
local answer = { int(reaped), int(promoted), int(purged), int(gone), jumped }
for i = 8, #ARGV do
  for _, said in ipairs({ wanted(ARGV[i]) }) do answer[#answer + 1] = said end
end
return answer
