-- Puts foreign jobs (HSET and ZADD by somebody else's program) into their classes.
-- ARGV: 6 most classes, then for each job: id, class, definition, order, created_at as read, '1' if the hash exists
-- Answers a word for each: indexed | kept (was already) | gone | ended | changed | expelled | classes_full
local most, answers = tonumber(ARGV[6]), {}

local function index(id, class, definition, order, life, exists)
  if not legal(id) then
    redis.call('ZREM', PENDING, id)
    return 'expelled'
  end
  local job = load(id)
  if not job then
    leave(id, {})
    return 'gone'
  end
  if exists ~= '1' or job.created_at ~= life or job.status ~= 'pending' and not ENDED[job.status] then return 'changed' end
  if adopt_end(id, job) then return 'ended' end
  if not redis.call('ZSCORE', PENDING, id) then return 'changed' end
  if job.class == class and job.order == order and job.life == life and is_indexed(id, class) then
    return 'kept'
  end
  if not bear(class, definition, most) then return 'classes_full' end
  leave_class(id, job.class)
  redis.call('ZREM', DELAYED, id)
  redis.call('ZREM', LEASES, id)
  redis.call('HDEL', job_key(id), 'cancel_requested')
  begin_life(id, job)
  redis.call('HSET', job_key(id), 'class', class, 'order', order, 'life', life)
  redis.call('ZADD', class_key(class), order, id)
  redis.call('ZREM', IDLE, class)
  update_head(class)
  announce(class)
  return 'indexed'
end

for i = 7, #ARGV, 6 do
  answers[#answers + 1] = index(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], ARGV[i + 5])
end
return answers
