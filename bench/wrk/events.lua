-- Signups for wrk. Arguments: a file with a phone number a line, and how many events a request holds: 0 is the single call.
-- Each event has the next number of a walk over the whole file, an account and an address nobody had before, and one of
-- 65,536 networks.

local threads = 0

function setup(thread)
  thread:set("id", threads)
  threads = threads + 1
end

local numbers, lines, event = {}, 0, 0

function init(args)
  for number in io.lines(args[1]) do
    numbers[#numbers + 1] = number
  end
  lines = tonumber(args[2])
  wrk.method = "POST"
  wrk.headers["Content-Type"] = lines == 0 and "application/json" or "application/x-ndjson"
end

-- 7919 is prime: the walk meets every number before it meets one again, and never two neighbours in turn.
local function signup()
  event = event + 1
  local number = numbers[(event * 7919 + id * 20011) % #numbers + 1]
  return string.format('{"event":"signup","phone_number":"%s","account_id":"u%d-%d","ip":"2001:db8:%x:%x::1"}',
    number, id, event, event % 65536, math.floor(event / 65536) + id * 256)
end

function request()
  if lines == 0 then
    return wrk.format(nil, nil, nil, signup())
  end
  local body = {}
  for i = 1, lines do
    body[i] = signup()
  end
  return wrk.format(nil, nil, nil, table.concat(body, "\n") .. "\n")
end

-- One line that the program beside this file reads: requests, microseconds in all, errors, and latencies in microseconds.
function done(summary, latency)
  local e = summary.errors
  print(string.format("RESULT %d %d %d %d %d %d", summary.requests, summary.duration,
    e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50), latency:percentile(90), latency:percentile(99)))
end
