-- One page of a walk over the queue that finds what hints and claims missed.
-- ARGV: 6 cursor ('' = from the start), 7 page size
-- Answers: {next cursor ('' = round done), ids of jobs:pending that are not indexed...}
local cursor, page = ARGV[6], tonumber(ARGV[7])
local what, at, rank = string.match(cursor, '^(%a) (%d+) (%d+)$')
what, at, rank = what or 'p', tonumber(at or '0'), tonumber(rank or '0')

if what == 'p' then
  local ids = redis.call('ZREVRANGE', PENDING, rank, rank + page - 1)
  local answer = { #ids < page and 'c 0 0' or 'p 0 ' .. int(rank + page) }
  for _, id in ipairs(ids) do
    local seen = redis.pcall('HMGET', job_key(id), 'class', 'life', 'created_at', 'status')
    if seen.err or seen[4] ~= 'pending' or not seen[1] or seen[1] == '' or seen[2] ~= (seen[3] or '')
      or not redis.call('ZSCORE', class_key(seen[1]), id) then
      answer[#answer + 1] = id
    end
  end
  return answer
end

-- The other direction: members of classes that wait no longer.
local class = redis.call('ZRANGE', HEADS, at, at)[1]
if not class then return { '' } end
local members = redis.call('ZRANGE', class_key(class), rank, rank + page - 1)
for _, id in ipairs(members) do
  if not redis.call('ZSCORE', PENDING, id) then
    local job = load(id)
    leave_class(id, class)
    if not job then leave(id, {})
    elseif not adopt_end(id, job) and job.class == class then redis.call('HDEL', job_key(id), 'class') end
  end
end
return { #members < page and 'c ' .. int(at + 1) .. ' 0' or 'c ' .. int(at) .. ' ' .. int(rank + page) }
