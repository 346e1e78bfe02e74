-- The least that somebody would be content with: three fixed windows of each of the five subjects, all in one hash a
-- subject. No set of who was seen with whom, no limit.
--
-- KEYS: phone, range, account, address, network. ARGV: unix time. Answers three counts a subject.
local now = tonumber(ARGV[1])
local hour, day, month = math.floor(now / 3600), math.floor(now / 86400), math.floor(now / 2592000)
local out = {}
for _, k in ipairs(KEYS) do
  local v = redis.call('HMGET', k, 'h', 'hn', 'd', 'dn', 'm', 'mn')
  local hn, dn, mn = 1, 1, 1
  if tonumber(v[1]) == hour then hn = v[2] + 1 end
  if tonumber(v[3]) == day then dn = v[4] + 1 end
  if tonumber(v[5]) == month then mn = v[6] + 1 end
  redis.call('HSET', k, 'h', hour, 'hn', hn, 'd', day, 'dn', dn, 'm', month, 'mn', mn)
  if mn == 1 then redis.call('EXPIRE', k, 2592000) end
  out[#out + 1] = hn
  out[#out + 1] = dn
  out[#out + 1] = mn
end
return out
