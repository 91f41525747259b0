-- Takes the best waiting job that the caller can run.
-- ARGV: 6 token, 7 worker, 8 lease ms, 9 version of the classes, 10 '1' = do not ask for classes or indexing,
-- 11 ids of the fitting classes, 16 hex digits each, without separators, 12 the caller's instance, '' before it has one
-- Answers: {'job', id, again, payload bytes, attempt, life, class, more: '0' if nothing else that fits waits} | {'classes', version, definitions...}
-- | {'index', id} | {'more'} | {'superseded'} | {'paused', state, since, by}
-- | {'none', ms until the next delayed job or -1, then each class with jobs that avoid the caller and ms until it may take one}
local token, worker, lease, version, force, fitting =
  ARGV[6], ARGV[7], tonumber(ARGV[8]), ARGV[9], ARGV[10] == '1', ARGV[11]

local ids = {}
for i = 1, #fitting, 16 do ids[#ids + 1] = string.sub(fitting, i, i + 15) end

-- Whether a further claim may find something: then the caller need not wait for a token.
local function more_waits()
  if #ids > 32 then return redis.call('EXISTS', HEADS) == 1 end
  if #ids == 0 then return true end
  for _, score in ipairs(redis.call('ZMSCORE', HEADS, unpack(ids))) do
    if score then return true end
  end
  return false
end

local function answer(id, job, again)
  return { 'job', id, again, tostring(redis.call('HSTRLEN', job_key(id), 'payload')), int(job.attempts), job.created_at,
    job.class or '', more_waits() and '1' or '0' }
end

-- 0. A newer process of this worker has begun by taking over what it found: what an older one claims now, nobody would.
if ARGV[12] ~= '' then
  local present = redis.pcall('HGET', key('worker:' .. worker), 'instance')
  if type(present) == 'string' and present > ARGV[12] then return { 'superseded' } end
end

-- 1. A lost reply costs nothing: the same token gets the same job.
local own = redis.call('HKEYS', active_key(worker))
for _, id in ipairs(own) do
  local job = load(id)
  if job and held(job, token) then return answer(id, job, '1') end
  if not job or ended(job) or job.worker_id ~= worker then redis.call('HDEL', active_key(worker), id) end
end

-- Somebody wants this worker to claim no more. Asked here, not of what the caller knows: it may have just started.
local desired, since, by = wanted(worker)
if desired ~= '' and desired ~= 'running' then return { 'paused', desired, since, by } end

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
      or not is_indexed(first, seen[1]) then
      return { 'index', first }
    end
  end
end

local function take(id, job)
  leave(id, job)
  -- Of this life; the count of claims goes on from the earlier one.
  local is_first = (job.claim or '') == '' and (job.done or '') == ''
  local submitted = is_first and redis.call('EXISTS', key('job:events:' .. id)) == 0
  if submitted then event({ id = id, attempts = job.attempts }, 'job_submitted', { 'service', job.service_required or '' }) end
  job.attempts = job.attempts + 1
  job.worker_id = worker
  redis.call('HSET', job_key(id), 'status', 'assigned', 'worker_id', worker, 'claim', token, 'attempt', int(job.attempts),
    'assigned_at', iso(NOW))
  redis.call('HDEL', job_key(id), 'done', 'takeovers', 'takeovers_at', 'service_job_id', 'progress', 'progress_message',
    'progress_at', 'started_at')
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

-- Until when a job with this `avoid` is not for the caller; nil if it may take it.
local function avoids_till(avoid)
  if type(avoid) ~= 'string' then return nil end
  local whom, till = string.match(avoid, '^(.+) (%d+)$')
  till = tonumber(till)
  if not till or till <= NOW then return nil end
  return string.find(' ' .. whom .. ' ', ' ' .. worker .. ' ', 1, true) and till
end

-- How many stale entries are dropped, and how many jobs that avoid the caller are passed over, in one call. The classes
-- share the latter equally: none of them may hide the others. The first job of each class is looked at in any case.
local drops, passes, passes_in_class = 64, 512, 16
local function share(classes) passes_in_class = math.max(16, math.floor(passes / math.max(1, classes))) end
-- Classes with such jobs -> when the first of them may be taken, or the class is to be looked at again.
local passed, LOOK_AGAIN = {}, 5000

-- The first job of the class that the caller may take. Entries that their hash contradicts are dropped.
local function first_of(class)
  local rank, undisturbed = 0, true
  while drops > 0 and (rank == 0 or passes > 0 and rank < passes_in_class) do
    local entry = redis.call('ZRANGE', class_key(class), rank, rank, 'WITHSCORES')
    local id = entry[1]
    if not id then
      if rank == 0 then update_head(class) end
      return nil
    end
    -- Behind one that avoids the caller there are often more of them: one field tells.
    local till = (rank > 0 or passes <= 0) and avoids_till(redis.pcall('HGET', job_key(id), 'avoid')) or nil
    local job = not till and load(id) or nil
    if job and job.status == 'pending' and job.class == class and job.life == job.created_at and not ended(job)
      and redis.call('ZSCORE', PENDING, id) then
      till = avoids_till(job.avoid)
      if not till then
        return { id = id, job = job, class = class, order = tonumber(entry[2]), undisturbed = undisturbed }
      end
    elseif not till then
      drops = drops - 1
      leave_class(id, class)
      if not job then
        leave(id, {})
      elseif not adopt_end(id, job) and job.class == class then
        redis.call('HDEL', job_key(id), 'class')
      end
    end
    if till then
      rank, passes = rank + 1, passes - 1
      passed[class] = math.min(passed[class] or till, till)
    end
    undisturbed = false
  end
  -- What is behind them comes to light when others take some of these, and nobody is told of that.
  if drops > 0 and redis.call('ZCARD', class_key(class)) > rank then
    passed[class] = math.min(passed[class], NOW + LOOK_AGAIN)
  end
  return nil
end

-- 5. Best fitting class first. Where its first entry is stale or avoids the caller, other classes may have a better job
-- than what comes next in it.
local best

local function sooner(order, class, than)
  return order < than.order or order == than.order and class < than.class
end

-- Looks at one more class, in the order of the heads; true once no further class can have a better job.
local function decided(class, head)
  if best and not sooner(head or tonumber(redis.call('ZSCORE', HEADS, class)), class, best) then return true end
  local found = first_of(class)
  if found and (not best or sooner(found.order, class, best)) then best = found end
  return drops <= 0 or best and best.undisturbed
end

local function search_few(ids)
  local scores, heads = redis.call('ZMSCORE', HEADS, unpack(ids)), {}
  for i, id in ipairs(ids) do
    if scores[i] then heads[#heads + 1] = { order = tonumber(scores[i]), class = id } end
  end
  table.sort(heads, function(a, b) return sooner(a.order, a.class, b) end)
  share(#heads)
  for _, head in ipairs(heads) do
    if decided(head.class, head.order) then return end
  end
end

local function search_all(ids)
  local fits, from, page = {}, 0, 100
  for _, id in ipairs(ids) do fits[id] = true end
  share(redis.call('ZCARD', HEADS))
  while true do
    local heads, before = redis.call('ZRANGE', HEADS, from, from + page - 1), drops
    for _, class in ipairs(heads) do
      if fits[class] and decided(class) then return end
    end
    -- What was dropped has moved other classes into this page: then it is looked at again.
    if drops == before then
      if #heads < page then return end
      from = from + page
    end
  end
end

if #ids > 32 then search_all(ids) elseif #ids > 0 then search_few(ids) end
if drops <= 0 then return { 'more' } end
if best then return take(best.id, best.job) end

local next_due = redis.call('ZRANGE', DELAYED, 0, 0, 'WITHSCORES')[2]
local nothing = { 'none', next_due and int(math.max(0, tonumber(next_due) - NOW)) or '-1' }
for class, till in pairs(passed) do
  redis.call('SADD', bystanders_key(class), worker)
  redis.call('EXPIRE', bystanders_key(class), BYSTANDERS_TTL)
  nothing[#nothing + 1] = class
  nothing[#nothing + 1] = int(till - NOW)
end
return nothing
