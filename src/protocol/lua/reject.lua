-- A waiting job that nobody can understand ends as a validation error, before anybody runs it.
-- ARGV: 6 id, 7 created_at as read, 8 failure reason, 9 message
-- Answers: {'ok'} | {'changed'}
local id, life, reason, message = ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local job = load(id)
if not job or job.created_at ~= life or not waiting(id, job) then return { 'changed' } end
local retries = math.max(0, number(job.retry_count) or 0)
finish(id, job, 'failed', '-', { 'error', message, 'failure_type', 'validation_error', 'failure_reason', reason },
  { 'message', message, 'error', message, 'failure_type', 'validation_error', 'failure_reason', reason,
    'will_retry', { json = 'false' } })
tell_failure(job, message, retries)
return { 'ok' }
