-- Records how far the work is; never less than was told of it before (see start): a restarted agent may know less.
-- ARGV: 6 id, 7 token, 8 progress 0-100, 9 message, 10 node or '', 11 step or '', 12 steps or '',
-- 13 URL of a new picture or '', 14 its media type or ''
-- Answers: {'ok'} | {'cancel'} | {'moved'} | {'lost'}
local id, token, progress, message = ARGV[6], ARGV[7], tonumber(ARGV[8]) or 0, ARGV[9]
local job = load(id)
if not job or not held(job, token) then return { loss(job, token) } end
local known = redis.call('HMGET', job_key(id), 'takeovers', 'takeovers_at', 'progress')
if known[1] and progress > (number(known[2]) or 0) then redis.call('HDEL', job_key(id), 'takeovers') end
progress = math.max(progress, math.min(100, number(known[3]) or 0))
redis.call('HSET', job_key(id), 'progress', json_text(progress), 'progress_message', message, 'progress_at', iso(NOW))
local extra = { 'progress', progress, 'message', message }
for i, name in ipairs({ 'node', 'step', 'steps', 'preview_url', 'preview_media_type' }) do
  local value = ARGV[9 + i]
  if value ~= '' then
    extra[#extra + 1] = name
    extra[#extra + 1] = (name == 'step' or name == 'steps') and tonumber(value) or value
  end
end
event(job, 'progress', extra)
-- The reference's hub takes 0 for nothing and 100 for an end.
local shown = math.floor(progress)
if shown >= 1 then tell_progress(job, math.min(shown, 99), 'in_progress', message) end
return { job.cancel_requested and 'cancel' or 'ok' }
