-- What every script shares: it is put in front of each of them when the program is built.
-- ARGV: 1 key prefix, 2 '1' while the reference's readers are served, 3 length guard of event streams,
-- 4 and 5 retention in ms of ended and of failed jobs. A script's own arguments begin at ARGV[6].
-- Nothing here may raise after the first write: Redis keeps what a failed script wrote.

local PREFIX, REFERENCE, STREAM_MAX = ARGV[1], ARGV[2] == '1', ARGV[3]
local RETENTION, FAILED_RETENTION = tonumber(ARGV[4]), tonumber(ARGV[5])
local EVENTS_TTL, EVENTS_TTL_ENDED, STARTED_TTL, CLASS_IDLE_MS, TOKEN_TTL = '604800', '3600', '86400', 60000, '60'
local BYSTANDERS_TTL = '1200' -- longer than any worker stands by without asking again
local TOKENS_MAX = 20000 -- entries of a text's stream
local T43 = 8796093022208 -- 2^43

local TIME = redis.call('TIME')
local NOW = TIME[1] * 1000 + math.floor(TIME[2] / 1000)

local function int(n) return string.format('%.0f', n) end
local function key(name) return PREFIX .. name end
local function job_key(id) return PREFIX .. 'job:' .. id end
local function class_key(class) return PREFIX .. 'jobs:class:' .. class end
local function active_key(worker) return PREFIX .. 'jobs:active:' .. worker end
local function started_key(worker) return PREFIX .. 'jobs:started:' .. worker end
local PENDING, DELAYED, LEASES = key('jobs:pending'), key('jobs:delayed'), key('jobs:leases')
local HEADS, CLASSES, IDLE = key('jobs:heads'), key('jobs:classes'), key('jobs:classes:idle')

-- Milliseconds since 1970 as ISO-8601 UTC; Redis has no calendar.
local function iso(at)
  local day, rest = math.floor(at / 86400000), at % 86400000
  local z = day + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  local second = math.floor(rest / 1000)
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%03dZ', year, month, doy - math.floor((153 * mp + 2) / 5) + 1,
    math.floor(second / 3600), math.floor(second / 60) % 60, second % 60, rest % 1000)
end

-- A finite number out of a text field, or nil ('', absent, 'inf' and 'nan' are nil).
local function number(text)
  local n = text and tonumber(text)
  if n and n == n and n < 1e300 and n > -1e300 then return n end
  return nil
end

local FIELDS = { 'status', 'created_at', 'final', 'claim', 'worker_id', 'attempt', 'class', 'order', 'life',
  'cancel_requested', 'stalled', 'avoid', 'refused_by', 'done', 'retry_count', 'max_retries', 'error', 'workflow_id',
  'current_step', 'total_steps', 'workflow_priority', 'workflow_datetime', 'priority', 'service_required',
  'customer_id', 'service_job_id', 'handed_on', 'started_at', 'token_session' }

-- The small fields of a job, or nil if there is no such hash. `created_at` and `status` are texts in any case.
local function load(id)
  local values = redis.pcall('HMGET', job_key(id), unpack(FIELDS))
  if values.err then return nil end
  local job, any = { id = id }, false
  for i, name in ipairs(FIELDS) do
    if values[i] then job[name] = values[i]; any = true end
  end
  if not any and redis.call('EXISTS', job_key(id)) == 0 then return nil end
  job.created_at = job.created_at or ''
  job.status = job.status or ''
  job.attempts = number(job.attempt) or 0
  return job
end

local ENDED = { completed = true, failed = true, cancelled = true, timeout = true, unworkable = true }

-- How the job ended in this life and by which token ('-' if by nobody's), or nil while it goes on.
local function ended(job)
  if job.final then
    local state, token, life = string.match(job.final, '^(%S+) (%S+) (.*)$')
    if state and life == job.created_at then return state, token end
  end
  if ENDED[job.status] then return job.status, '-' end
  return nil
end

local function worker_of(token) return string.match(token, '^(.-)|') or token end

local function held(job, token)
  return not ended(job) and (job.status == 'assigned' or job.status == 'in_progress') and job.claim == token
    and job.worker_id == worker_of(token)
end

-- Held, or waiting in the same life after a claim that Redis forgot or that ran out.
local function mine(job, token, attempt, life)
  if held(job, token) then return true end
  return not ended(job) and job.status == 'pending' and job.created_at == life
    and (job.claim == token or job.attempts < attempt)
end

-- Why a token holds no longer: a newer process of the same worker has taken the job over, or somebody else has it.
local function loss(job, token)
  local moved = job and job.claim and job.claim ~= token and worker_of(job.claim) == worker_of(token) and held(job, job.claim)
  return moved and 'moved' or 'lost'
end

local function json_text(value)
  if type(value) == 'table' then return value.json end
  if type(value) == 'number' then return string.format('%.14g', value) end
  return cjson.encode(value)
end

local function json_object(pairs_)
  local parts = {}
  for i = 1, #pairs_, 2 do parts[#parts + 1] = cjson.encode(pairs_[i]) .. ':' .. json_text(pairs_[i + 1]) end
  return '{' .. table.concat(parts, ',') .. '}'
end

local function publish(channel, pairs_) redis.call('PUBLISH', key(channel), json_object(pairs_)) end

-- What somebody wants of a worker: state ('' or 'running': go on; anything else: claim no more), since when in ms, who.
local function wanted(worker)
  local said = redis.pcall('HMGET', key('worker:' .. worker .. ':control'), 'state', 'at', 'by')
  if said.err then return '', '0', '' end
  return said[1] or '', int(number(said[2]) or 0), said[3] or ''
end

-- Appends to the job's event log and publishes the same as a hint. `extra` is a flat list of names and values:
-- texts, numbers, or {json = text} for what is JSON already.
local function event(job, kind, extra, last)
  local pairs_ = { 'type', kind, 'event_type', kind, 'job_id', job.id, 'worker_id', job.worker_id or '',
    'attempt', job.attempts, 'timestamp', { json = string.format('%.3f', NOW / 1000) } }
  for i = 1, #extra do pairs_[#pairs_ + 1] = extra[i] end
  local entry = {}
  for i = 1, #pairs_, 2 do
    local value = pairs_[i + 1]
    entry[#entry + 1] = pairs_[i]
    entry[#entry + 1] = type(value) == 'string' and value or json_text(value)
  end
  local stream = key('job:events:' .. job.id)
  -- A foreign value under the stream's name must not stop the transition, hence pcall.
  local entry_id = redis.pcall('XADD', stream, 'MAXLEN', '~', STREAM_MAX, '*', unpack(entry))
  if type(entry_id) == 'string' then
    redis.call('EXPIRE', stream, last and EVENTS_TTL_ENDED or EVENTS_TTL)
    pairs_[#pairs_ + 1] = 'id'
    pairs_[#pairs_ + 1] = entry_id
  end
  publish('job:events:' .. job.id, pairs_)
end

local function new_version() redis.call('HSET', CLASSES, '_v', TIME[1] .. '.' .. TIME[2] .. '.' .. redis.call('HLEN', CLASSES)) end

-- Brings the class's place among the heads up to date after its members changed.
local function update_head(class)
  local first = redis.call('ZRANGE', class_key(class), 0, 0, 'WITHSCORES')
  if first[2] then
    redis.call('ZADD', HEADS, first[2], class)
    return true
  end
  if redis.call('ZREM', HEADS, class) == 1 then redis.call('ZADD', IDLE, int(NOW), class) end
  return false
end

local function leave_class(id, class)
  if class and class ~= '' and redis.call('ZREM', class_key(class), id) == 1 then update_head(class) end
end

local function leave(id, job)
  redis.call('ZREM', PENDING, id)
  redis.call('ZREM', DELAYED, id)
  redis.call('ZREM', LEASES, id)
  leave_class(id, job.class)
  if job.worker_id and job.worker_id ~= '' then redis.call('HDEL', active_key(job.worker_id), id) end
end

local function leave_at(wake, class)
  if redis.call('LLEN', wake) == 0 then
    redis.call('RPUSH', wake, class)
    redis.call('EXPIRE', wake, TOKEN_TTL)
  end
end

-- At most one token a class: one is enough for any number of jobs.
local function leave_token(class) leave_at(key('jobs:wake:' .. class), class) end

local function bystanders_key(class) return PREFIX .. 'jobs:bystanders:' .. class end

-- A job has come to the class. Those who wait for none of its tokens, because what waited there avoids them, are called
-- one by one: this job may be for them. Who finds nothing for itself stands by anew.
local function announce(class)
  leave_token(class)
  local bystanders = redis.call('SMEMBERS', bystanders_key(class))
  if #bystanders == 0 then return end
  redis.call('DEL', bystanders_key(class))
  for _, worker in ipairs(bystanders) do leave_at(key('jobs:wake:bystander:' .. worker), class) end
end

-- The reference's score: P * 1e15 - floor(t / 1000), where 0 counts as not set.
local function reference_score(job)
  local function set(text)
    local n = number(text)
    if n and n ~= 0 then return math.max(-1000, math.min(1000000, n)) end
    return nil
  end
  local p = set(job.workflow_priority) or set(job.priority) or 50
  local t = number(job.workflow_datetime)
  if not t or t == 0 then t = (number(job.order) or NOW) % T43 end
  return string.format('%.17g', p * 1e15 - math.floor(t / 1000))
end

-- Whether the class was made with every job field that some worker's matching reads by now.
local function is_complete(class)
  local names = redis.call('SMEMBERS', key('jobs:class:fields'))
  if #names == 0 then return true end
  local parsed, definition = pcall(cjson.decode, redis.call('HGET', CLASSES, class) or '')
  local fields = parsed and type(definition) == 'table' and definition.fields or {}
  for _, name in ipairs(names) do
    if type(fields) ~= 'table' or fields[name] == nil then return false end
  end
  return true
end

-- Makes a job with class and order claimable. Without a known class it waits unindexed, to be indexed again.
local function enqueue(id, job)
  redis.call('ZADD', PENDING, reference_score(job), id)
  if job.class and job.class ~= '' and job.order and redis.call('HEXISTS', CLASSES, job.class) == 1
    and is_complete(job.class) then
    redis.call('ZADD', class_key(job.class), job.order, id)
    redis.call('ZREM', IDLE, job.class)
    update_head(job.class)
    announce(job.class)
  else
    redis.call('HDEL', job_key(id), 'class')
  end
end

-- Makes the class known. False if there are too many of them.
local function bear(class, definition, most)
  if redis.call('HEXISTS', CLASSES, class) == 1 then return true end
  if redis.call('HLEN', CLASSES) > most then return false end
  redis.call('HSET', CLASSES, class, definition)
  -- A class without members dies after a while; the first member takes it off this list.
  redis.call('ZADD', IDLE, int(NOW), class)
  local previous = redis.call('HGET', CLASSES, '_v') or ''
  new_version()
  -- With both versions, whoever knew all classes before knows all of them now, without reading them again.
  publish('jobs:classes:born', { 'class', class, 'definition', definition, 'previous', previous,
    'version', redis.call('HGET', CLASSES, '_v') })
  return true
end

-- Ours of a job's fields that belong to one life alone. The count of claims goes on: a worker that was cut off may still be at
-- an attempt of the earlier life, and what it stores and what it asks of its engine goes by that number.
local OF_LIFE = { 'final', 'result', 'claim', 'done', 'stalled', 'takeovers', 'takeovers_at', 'handed_on',
  'avoid', 'refused_by', 'cancel_requested', 'service_job_id', 'progress', 'progress_message', 'progress_at', 'token_session', 'token_run',
  'token_next', 'token_end' }
local OF_PAST = { 'error', 'failure_type', 'failure_reason', 'started_at', 'completed_at', 'failed_at', 'cancelled_at' }

-- Where another program has given the id a new life, whatever is left of the earlier one goes, its event log too.
local function begin_life(id, job)
  local last = job.final and string.match(job.final, '^%S+ %S+ (.*)$')
  if (not job.life or job.life == job.created_at) and (not last or last == job.created_at) then return end
  redis.call('HDEL', job_key(id), unpack(OF_LIFE))
  for _, name in ipairs(OF_LIFE) do job[name] = nil end
  redis.call('DEL', key('job:events:' .. id))
  redis.call('ZREM', key('jobs:finished'), id)
  redis.call('ZREM', key('jobs:dead'), id)
  if job.status ~= 'pending' then return end
  redis.call('HDEL', job_key(id), unpack(OF_PAST))
  if job.worker_id and job.worker_id ~= '' then
    redis.call('HDEL', active_key(job.worker_id), id)
    redis.call('HSET', job_key(id), 'worker_id', '')
    job.worker_id = ''
  end
end

-- What a worker handed to its engine outlives the lease: one that comes back later still finds it, to go on with it or to
-- stop it.
local function note_start(id, job, token, service_job)
  local started = started_key(worker_of(token))
  redis.call('HSET', started, id, json_object({ 'claim', token, 'attempt', job.attempts, 'life', job.created_at,
    'service_job_id', service_job }))
  redis.call('EXPIRE', started, STARTED_TTL)
end

local function forget_start(id, token) redis.call('HDEL', started_key(worker_of(token)), id) end

-- Entries of a text's stream: kept for those who come later, published for those who listen.
local function say_tokens(session, texts, ttl)
  local stream, added = key('ai:stream:' .. session), nil
  for _, text in ipairs(texts) do
    -- A foreign value under the stream's name must not stop the transition, hence pcall.
    added = redis.pcall('XADD', stream, 'MAXLEN', '~', TOKENS_MAX, '*', 'data', text)
    redis.call('PUBLISH', stream, text)
  end
  if type(added) == 'string' then redis.call('EXPIRE', stream, ttl) end
end

-- The last entry of a text, if the job has begun one: how it ended, whoever ended it.
local function end_text(id, job, state, extra)
  if not job.token_session then return end
  local known = redis.call('HMGET', job_key(id), 'token_next', 'token_end')
  local last = { 'done', { json = 'true' }, 'job_id', id, 'state', state, 'tokens', number(known[1]) or 0 }
  if state ~= 'completed' then
    local said = {}
    for i = 1, #extra, 2 do said[extra[i]] = extra[i + 1] end
    for i, name in ipairs({ 'error', 'failure_type', 'failure_reason' }) do
      local value = said[name] or name == 'error' and said.message
      if value then last[#last + 1] = name; last[#last + 1] = value end
    end
  end
  local text = json_object(last)
  if state == 'completed' and known[2] then text = string.sub(text, 1, -2) .. ',' .. string.sub(known[2], 2) end
  say_tokens(job.token_session, { text }, EVENTS_TTL_ENDED)
end

local STAMP = { completed = 'completed_at', failed = 'failed_at', cancelled = 'cancelled_at' }
local LAST_EVENT = { completed = 'completion', failed = 'failure', cancelled = 'cancellation' }

-- Ends the job in this life: leaves every index, writes what lasts, tells it.
local function finish(id, job, state, token, fields, extra)
  leave(id, job)
  if token ~= '-' then forget_start(id, token) end
  begin_life(id, job)
  redis.call('HSET', job_key(id), 'status', state, 'final', state .. ' ' .. token .. ' ' .. job.created_at,
    STAMP[state], iso(NOW), unpack(fields))
  redis.call('HDEL', job_key(id), 'cancel_requested', 'avoid')
  local failed = state == 'failed'
  redis.call('ZADD', key(failed and 'jobs:dead' or 'jobs:finished'), int(NOW + (failed and FAILED_RETENTION or RETENTION)), id)
  event(job, LAST_EVENT[state], extra, true)
  end_text(id, job, state, extra)
end

-- Someone else's program wrote an end into `status`: make it ours, so that readers get their last event.
local function adopt_end(id, job)
  local state = ended(job)
  if not state then return false end
  if job.final and string.match(job.final, '^%S+ %S+ (.*)$') == job.created_at then
    leave(id, job)
    if job.status ~= state then redis.call('HSET', job_key(id), 'status', state) end
    return true
  end
  local message = job.error or ''
  if state == 'failed' and string.find(message, 'cancelled by user', 1, true) then state = 'cancelled' end
  if not LAST_EVENT[state] then state = 'failed' end
  finish(id, job, state, '-', {}, { 'message', message, 'error', message })
  return true
end

-- The reference's result hashes live on for a while after each write, and do not grow without end.
local function keep(hash, seconds)
  redis.call('EXPIRE', hash, seconds)
  local excess = redis.call('HLEN', hash) - 10000
  if excess > 0 then
    local some = redis.call('HRANDFIELD', hash, 2)
    if #some > 0 then redis.call('HDEL', hash, unpack(some)) end
  end
end

local function workflow_numbers(job, pairs_)
  if job.workflow_id and job.workflow_id ~= '' then
    pairs_[#pairs_ + 1] = 'workflow_id'
    pairs_[#pairs_ + 1] = job.workflow_id
  end
  for _, name in ipairs({ 'current_step', 'total_steps', 'workflow_priority', 'workflow_datetime' }) do
    local n = number(job[name])
    if n then
      pairs_[#pairs_ + 1] = name
      pairs_[#pairs_ + 1] = { json = string.format('%.17g', n) }
    end
  end
  return pairs_
end

-- The reference's view of a failure that is final.
local function tell_failure(job, message, retries)
  if not REFERENCE then return end
  local failed_at = iso(NOW)
  redis.call('HSET', key('jobs:failed'), job.id,
    json_object({ 'error', message, 'failed_at', failed_at, 'retry_count', retries }))
  keep(key('jobs:failed'), '604800')
  publish('job_failed', workflow_numbers(job, { 'job_id', job.id, 'worker_id', job.worker_id or '', 'status', 'failed',
    'error', message, 'failed_at', failed_at, 'retry_count', retries, 'can_retry', { json = 'false' },
    'timestamp', { json = int(NOW) } }))
end

local function tell_cancelled(job)
  if not REFERENCE then return end
  redis.call('HSET', key('jobs:failed'), job.id, json_object({ 'error', 'Job cancelled by user', 'failed_at', iso(NOW),
    'cancelled', { json = 'true' } }))
  keep(key('jobs:failed'), '604800')
end

local function finish_cancelled(id, job, token, reason)
  finish(id, job, 'cancelled', token, { 'error', reason }, { 'message', reason })
  tell_cancelled(job)
end

-- Its worker has been lost once more. True if that was once too often, and the job has failed. `name`: where it is counted.
local function give_up(id, job, name, losses, most)
  if losses <= most then return false end
  local worker = job.worker_id
  local message = string.format('lost by its worker %d times, last by %s', losses, worker)
  finish(id, job, 'failed', '-', { 'error', message, 'failure_type', 'system_error', 'failure_reason', 'worker_lost',
    name, int(losses), 'last_failed_worker', worker }, { 'message', message, 'error', message,
    'failure_type', 'system_error', 'failure_reason', 'worker_lost', 'will_retry', { json = 'false' } })
  tell_failure(job, message, math.max(0, number(job.retry_count) or 0))
  return true
end

-- The job that this token hands back without a result, or nil and what to answer instead: it was handed back before, it
-- has ended, it is somebody else's, or it was to be cancelled and now is.
local function to_hand_back(id, token)
  local job = load(id)
  if not job then return nil, { 'lost', 'gone' } end
  if job.done == token then return nil, { 'already', job.status } end
  local state, by = ended(job)
  if state then
    redis.call('HDEL', active_key(worker_of(token)), id)
    adopt_end(id, job)
    return nil, { by == token and 'already' or 'lost', state }
  end
  if not held(job, token) then return nil, { 'lost', job.status } end
  if job.cancel_requested then
    finish_cancelled(id, job, token, job.cancel_requested)
    return nil, { 'cancelled' }
  end
  return job
end

local function tell_progress(job, progress, status, message)
  if not REFERENCE then return end
  publish('update_job_progress', { 'job_id', job.id, 'worker_id', job.worker_id or '', 'progress', progress,
    'status', status, 'message', message, 'timestamp', { json = int(NOW) } })
end

-- True for ids that this protocol can name; others leave the queue.
local function legal(id) return #id >= 1 and #id <= 128 and not string.find(id, '[^%w_-]') end

local function set_lease(id, worker, token, job, lease)
  redis.call('ZADD', LEASES, int(NOW + lease), id)
  redis.call('HSET', active_key(worker), id, json_object({ 'job_id', id, 'claim', token, 'attempt', job.attempts,
    'life', job.created_at, 'claimed_at', iso(NOW) }))
end

local function waiting(id, job)
  return job.status == 'pending' and not ended(job)
    and (redis.call('ZSCORE', PENDING, id) or redis.call('ZSCORE', DELAYED, id)) and true or false
end

-- Whether a job can be found by way of its class.
local function is_indexed(id, class)
  return redis.call('ZSCORE', class_key(class), id) and redis.call('ZSCORE', HEADS, class)
    and redis.call('HEXISTS', CLASSES, class) == 1
end

-- Moves a due job from the delayed ones to the claimable ones, or drops an entry that its hash contradicts.
local function promote(id)
  redis.call('ZREM', DELAYED, id)
  local job = load(id)
  if not job then return end
  if ended(job) then adopt_end(id, job) return end
  if job.status == 'pending' then enqueue(id, job) end
end

local function promote_due(most)
  local due = redis.call('ZRANGEBYSCORE', DELAYED, '-inf', int(NOW), 'LIMIT', 0, most)
  for _, id in ipairs(due) do promote(id) end
  return #due
end
