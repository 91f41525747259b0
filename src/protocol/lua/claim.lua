-- Takes the best waiting job that the caller can run.
-- ARGV: 6 token, 7 worker, 8 lease ms, 9 version of the classes, 10 '1' = do not ask for classes or indexing,
-- 11 ids of the fitting classes, 16 hex digits each, without separators
-- Answers: {'job', id, again, payload bytes, attempt, life, class} | {'classes', version, definitions...}
-- | {'index', id} | {'more'} | {'none', ms until the next delayed job or -1}
local token, worker, lease, version, force, fitting =
  ARGV[6], ARGV[7], tonumber(ARGV[8]), ARGV[9], ARGV[10] == '1', ARGV[11]

local function answer(id, job, again)
  return { 'job', id, again, tostring(redis.call('HSTRLEN', job_key(id), 'payload')), int(job.attempts), job.created_at,
    job.class or '' }
end

-- 1. A lost reply costs nothing: the same token gets the same job.
local own = redis.call('HKEYS', active_key(worker))
for _, id in ipairs(own) do
  local job = load(id)
  if job and held(job, token) then return answer(id, job, '1') end
  if not job or ended(job) or job.worker_id ~= worker then redis.call('HDEL', active_key(worker), id) end
end

-- 2. What is due may be claimed.
promote_due(16)

-- 3. and 4. Is the caller's picture of the queue complete?
if not force then
  local current = redis.call('HGET', CLASSES, '_v') or ''
  if current ~= version then
    -- Few classes travel with the answer; many are read apart, to keep this script short.
    if redis.call('HLEN', CLASSES) <= 64 then
      return { 'classes', current, unpack(redis.call('HGETALL', CLASSES)) }
    end
    return { 'classes', current }
  end
  local first = redis.call('ZREVRANGE', PENDING, 0, 0)[1]
  if first then
    local seen = redis.pcall('HMGET', job_key(first), 'class', 'life', 'created_at')
    if seen.err or not seen[1] or seen[1] == '' or seen[2] ~= (seen[3] or '')
      or not redis.call('ZSCORE', class_key(seen[1]), first) then
      return { 'index', first }
    end
  end
end

local budget = 64

local function take(id, job)
  leave(id, job)
  local submitted = job.attempts == 0 and redis.call('EXISTS', key('job:events:' .. id)) == 0
  if submitted then event({ id = id, attempts = 0 }, 'job_submitted', { 'service', job.service_required or '' }) end
  job.attempts = job.attempts + 1
  job.worker_id = worker
  redis.call('HSET', job_key(id), 'status', 'assigned', 'worker_id', worker, 'claim', token, 'attempt', int(job.attempts),
    'assigned_at', iso(NOW))
  redis.call('HDEL', job_key(id), 'done', 'service_job_id', 'progress', 'progress_message', 'progress_at', 'started_at')
  set_lease(id, worker, token, job, lease)
  event(job, 'assigned', { 'message', 'claimed by ' .. worker })
  if REFERENCE then
    local claimed = { 'job_id', id, 'worker_id', worker, 'status', 'claimed', 'message', 'Job claimed by worker',
      'claimed_at', TIME[1] .. '.' .. string.format('%06d', TIME[2]), 'timestamp', { json = int(NOW) } }
    for _, name in ipairs({ 'service_required', 'customer_id', 'workflow_id', 'total_steps' }) do
      if job[name] and job[name] ~= '' then
        claimed[#claimed + 1] = name
        claimed[#claimed + 1] = job[name]
      end
    end
    publish('job_claimed', claimed)
    tell_progress(job, 0, 'assigned', 'Job assigned to worker')
  end
  if redis.call('EXISTS', class_key(job.class)) == 1 then leave_token(job.class) end
  return answer(id, job, '0')
end

local function avoided(job)
  if not job.avoid then return false end
  local whom, till = string.match(job.avoid, '^(%S+) (%d+)$')
  return whom == worker and tonumber(till) > NOW
end

-- The first valid job of the class that does not avoid the caller. Entries that their hash contradicts are dropped.
local function from_class(class)
  local rank = 0
  while budget > 0 and rank < 8 do
    budget = budget - 1
    local id = redis.call('ZRANGE', class_key(class), rank, rank)[1]
    if not id then
      if rank == 0 then update_head(class) end
      return nil
    end
    local job = load(id)
    if not job then
      leave(id, { class = class })
    elseif ended(job) then
      leave_class(id, class)
      adopt_end(id, job)
    elseif job.status ~= 'pending' or job.class ~= class or job.life ~= job.created_at
      or not redis.call('ZSCORE', PENDING, id) then
      leave_class(id, class)
      if job.class == class then redis.call('HDEL', job_key(id), 'class') end
    elseif avoided(job) then
      rank = rank + 1
    else
      return take(id, job)
    end
  end
  return nil
end

-- 5. Best fitting class first.
local many = #fitting / 16
if many > 0 and many <= 32 then
  local ids = {}
  for i = 1, many do ids[i] = string.sub(fitting, i * 16 - 15, i * 16) end
  local scores, heads = redis.call('ZMSCORE', HEADS, unpack(ids)), {}
  for i = 1, many do
    if scores[i] then heads[#heads + 1] = { tonumber(scores[i]), ids[i] } end
  end
  table.sort(heads, function(a, b) if a[1] ~= b[1] then return a[1] < b[1] end return a[2] < b[2] end)
  for _, head in ipairs(heads) do
    local found = from_class(head[2])
    if found then return found end
    if budget <= 0 then return { 'more' } end
  end
elseif many > 32 then
  local fits = {}
  for i = 1, many do fits[string.sub(fitting, i * 16 - 15, i * 16)] = true end
  local from, page = 0, 100
  while true do
    local heads = redis.call('ZRANGE', HEADS, from, from + page - 1)
    local gone = 0
    for _, class in ipairs(heads) do
      if fits[class] then
        local found = from_class(class)
        if found then return found end
        if budget <= 0 then return { 'more' } end
        if not redis.call('ZSCORE', HEADS, class) then gone = gone + 1 end
      end
    end
    if #heads < page then break end
    from = from + page - gone
  end
end

local next_due = redis.call('ZRANGE', DELAYED, 0, 0, 'WITHSCORES')[2]
return { 'none', next_due and int(math.max(0, tonumber(next_due) - NOW)) or '-1' }
