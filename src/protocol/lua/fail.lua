-- Records a failed attempt: another try later, or the end.
-- ARGV: 6 id, 7 token, 8 never | retry | elsewhere | uncharged, 9 failure type, 10 reason, 11 message, 12 first pause ms,
-- 13 a random number 0-1, 14 pause that the engine asked for in ms, 15 longest pause ms, 16 most hand-ons,
-- 17 to 24 attestations: key and JSON if tried again, key and JSON if final, the same two pairs for the workflow,
-- 25 a second key for the one that is final, 26 other workers that are to keep off as long as this one, spaces between,
-- 27 '1': another live worker lists what this one lacks
-- Answers: {'retry', due ms} | {'failed'} | {'cancelled'} | {'already', state} | {'lost', state}
local id, token, verdict, kind, reason, message = ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[11]
local job, answered = to_hand_back(id, token)
if not job then return answered end
local worker = job.worker_id

local function attest(name_at)
  if not REFERENCE then return end
  for _, at in ipairs({ name_at, name_at + 4 }) do
    if ARGV[at] ~= '' then redis.call('SET', key(ARGV[at]), ARGV[at + 1], 'PX', int(FAILED_RETENTION)) end
  end
end

local retries = math.max(0, number(job.retry_count) or 0)
local attempts_allowed = math.max(1, math.min(1000, number(job.max_retries) or 3))
local handed_on = number(job.handed_on) or 0
local before, elsewhere = job.refused_by or '', ARGV[27] == '1'
local lacks = reason == 'component_error' or reason == 'model_not_found'
-- Who lacks what somebody else has only shows the way there, however long that one is busy. One that has refused the job does
-- not count as having it, so lists that are wrong end this; not beyond the refusals that can be remembered.
local counts = not (lacks and elsewhere and #before < 4096)
local charged = verdict ~= 'uncharged' or counts and handed_on >= tonumber(ARGV[16])
if charged then retries = retries + 1 elseif counts then handed_on = handed_on + 1 end
local fields = { 'error', message, 'failure_type', kind, 'failure_reason', reason, 'retry_count', int(retries),
  'last_failed_worker', worker }
local last = verdict == 'never' or charged and retries >= attempts_allowed
local details = { 'message', message, 'error', message, 'failure_type', kind, 'failure_reason', reason,
  'retry_count', retries, 'will_retry', { json = tostring(not last) }, 'charged', { json = tostring(charged) } }

if last then
  finish(id, job, 'failed', token, fields, details)
  attest(19)
  if REFERENCE and ARGV[25] ~= '' then redis.call('SET', key(ARGV[25]), ARGV[20], 'PX', int(FAILED_RETENTION)) end
  tell_failure(job, message, retries)
  return { 'failed' }
end

local tries = charged and retries - 1 or math.max(0, handed_on - 1)
local longest = tonumber(ARGV[15])
local pause = math.min(longest, tonumber(ARGV[12]) * 2 ^ math.min(tries, 20))
-- An engine that says when to come back means it; where a machine is at fault, others need not wait for it.
local asked = verdict == 'retry' and tonumber(ARGV[14]) or math.min(longest, tonumber(ARGV[14]))
local due = NOW + math.max(math.floor(pause * (0.5 + tonumber(ARGV[13]) / 2)), asked)
-- Whoever failed keeps off one pause longer than the others; much longer if the fault is likely to be its own.
local till = due + (verdict == 'elsewhere' and 4 * longest or pause)
local avoid, memory = worker, reason == 'out_of_memory' or reason == 'gpu_memory_full'
-- Nor has a disk soon room for what it had none for, while smaller jobs may well find it.
if not charged and (elsewhere or reason == 'disk_space_full') then till = due + 4 * longest end
if not charged and (lacks or memory) then
  -- What a worker lacks it lacks in a minute, too: those that were not asked yet come first.
  local known = string.find(' ' .. before .. ' ', ' ' .. worker .. ' ', 1, true)
  avoid = known and before or #before > 0 and #before < 4096 and before .. ' ' .. worker or worker
  till = due + ((memory or elsewhere) and 4 or 1) * longest
  fields[#fields + 1] = 'refused_by'
  fields[#fields + 1] = avoid
end
local others = ARGV[26] or ''
if others ~= '' and #others < 4096 then avoid = avoid .. ' ' .. others end
leave(id, job)
redis.call('HSET', job_key(id), 'status', 'pending', 'worker_id', '', 'assigned_at', '', 'done', token,
  'failed_at', iso(NOW), 'handed_on', int(handed_on), 'avoid', avoid .. ' ' .. int(till), unpack(fields))
redis.call('HDEL', job_key(id), 'claim', 'service_job_id')
forget_start(id, token)
redis.call('ZADD', DELAYED, int(due), id)
details[#details + 1] = 'due'
details[#details + 1] = { json = string.format('%.3f', due / 1000) }
event(job, 'retry_scheduled', details)
attest(17)
return { 'retry', int(due) }
