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
      or not is_indexed(id, seen[1]) then
      answer[#answer + 1] = id
    end
  end
  return answer
end

-- The other direction: members of classes that wait no longer. Many small classes make a page together.
local classes = redis.call('ZRANGE', HEADS, at, at + page - 1)
local left, gone = page, 0
for nth, class in ipairs(classes) do
  local members, dropped = redis.call('ZRANGE', class_key(class), rank, rank + left - 1), 0
  for _, id in ipairs(members) do
    if not redis.call('ZSCORE', PENDING, id) then
      dropped = dropped + 1
      local job = load(id)
      leave_class(id, class)
      if not job then leave(id, {})
      elseif not adopt_end(id, job) and job.class == class then redis.call('HDEL', job_key(id), 'class') end
    end
  end
  if #members == 0 then update_head(class) end
  -- What has left moves the rest forward.
  local here = at + nth - 1 - gone
  if not redis.call('ZSCORE', HEADS, class) then gone = gone + 1
  elseif #members >= left then return { 'c ' .. int(here) .. ' ' .. int(rank + #members - dropped) } end
  left, rank = left - math.max(1, #members), 0
  if left <= 0 then return { 'c ' .. int(at + nth - gone) .. ' 0' } end
end
return { #classes < page and '' or 'c ' .. int(at + #classes - gone) .. ' 0' }
