-- What the default policy asks of a signup: three fixed windows of the phone, five sliding sets of who was seen with
-- whom, and the limit of accounts on a number. One call, so that it is atomic.
--
-- KEYS: phone, range, account, address, network. ARGV: unix time, limit, 1 if the account is verified. Answers the three
-- counts, the sizes of the five sets, how many accounts are linked, and whether this one is.
local now, limit, verified = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1'
local phone, account = KEYS[1], KEYS[3]
local out = {}

for _, w in ipairs({3600, 86400, 2592000}) do
  local k = 'count:' .. w .. ':' .. math.floor(now / w) .. ':' .. phone
  local n = redis.call('INCR', k)
  if n == 1 then redis.call('EXPIRE', k, w) end
  out[#out + 1] = n
end

local function seen(name, owner, member, w)
  local k = name .. ':' .. owner
  redis.call('ZADD', k, now, member)
  redis.call('ZREMRANGEBYSCORE', k, '-inf', now - w)
  redis.call('EXPIRE', k, w)
  out[#out + 1] = redis.call('ZCARD', k)
end
seen('accounts', phone, account, 2592000)
seen('phones', KEYS[2], phone, 3600)
seen('phones', account, phone, 86400)
seen('phones', KEYS[4], phone, 3600)
seen('phones', KEYS[5], phone, 3600)

local links = 'links:' .. phone
local n = redis.call('SCARD', links)
local linked = redis.call('SISMEMBER', links, account)
if verified and linked == 0 and n < limit then
  redis.call('SADD', links, account)
  n, linked = n + 1, 1
end
out[#out + 1] = n
out[#out + 1] = linked
return out
