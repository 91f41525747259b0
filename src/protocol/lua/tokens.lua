-- Appends pieces of a text to the stream of its session, while the job is held. The same pieces again change nothing.
-- ARGV: 6 id, 7 token, 8 session, 9 the run that writes, 10 facts of its end as a JSON object or '', 11 index of the
-- first piece, 12... pieces as JSON texts, in order
-- Answers: {'ok'} | {'cancel'} | {'moved'} | {'lost'}
local id, token, session, run, facts, first = ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10], tonumber(ARGV[11])
local job = load(id)
if not job or not held(job, token) then return { loss(job, token) } end
local known = redis.call('HMGET', job_key(id), 'token_run', 'token_next')
local next = number(known[2]) or 0
local texts = {}
if known[1] ~= run then
  if next > 0 then
    texts[1] = json_object({ 'restart', { json = 'true' }, 'attempt', job.attempts, 'job_id', id })
  end
  next = 0
end
for i = 12, #ARGV do
  if first + i - 12 >= next then texts[#texts + 1] = ARGV[i] end
end
say_tokens(session, texts, EVENTS_TTL)
redis.call('HSET', job_key(id), 'token_session', session, 'token_run', run,
  'token_next', int(math.max(next, first + math.max(0, #ARGV - 11))))
if facts ~= '' then redis.call('HSET', job_key(id), 'token_end', facts) end
return { job.cancel_requested and 'cancel' or 'ok' }
