-- What wrk does for loadtest/bench/wrk.py: sends the requests of a file in turn, and holds each reply against its own request.
-- The file: the text before a request's number in a reply, or an empty line; then for each request a line with two lengths, the
-- request, and what a right reply to it holds. With a rate after the file's name, requests go out at it, by wrk's delay().

local threads = {}

function setup(thread)
   table.insert(threads, thread)
end

function init(arguments)
   requests, needles, statuses, wrong, sample, other = {}, {}, {}, 0, "", ""
   local file = assert(io.open(arguments[1], "rb"))
   before = file:read("*l")
   local lengths = file:read("*l")
   while lengths do
      local size, expected = string.match(lengths, "(%d+) (%d+)")
      table.insert(requests, file:read(tonumber(size)))
      table.insert(needles, tonumber(expected) > 0 and file:read(tonumber(expected)) or "")
      lengths = file:read("*l")
   end
   file:close()
   place = 0
   if arguments[2] then pace(tonumber(arguments[2])) end
   pattern = before ~= "" and string.gsub(before, "%p", "%%%0") .. "(%d+)" or nil
end

-- Every connection takes the next due time of one schedule; wrk's own pause between two requests would make the rate depend on
-- how long replies take. wrk counts latency from the end of the pause, whose clock has whole milliseconds.
function pace(rate)
   local ffi = require("ffi")
   ffi.cdef("typedef struct { long seconds, nanoseconds; } moment; int clock_gettime(int, moment *);")
   local moment = ffi.new("moment")
   local function now()
      ffi.C.clock_gettime(1, moment)
      return tonumber(moment.seconds) * 1e3 + tonumber(moment.nanoseconds) / 1e6
   end
   local due = now()
   function delay()
      due = due + 1e3 / rate
      return math.max(0, math.floor(due - now() + 0.5))
   end
end

function request()
   place = place % #requests + 1
   return requests[place]
end

function response(status, headers, body)
   statuses[status] = (statuses[status] or 0) + 1
   if status ~= 200 then
      if other == "" then other = body end
      return
   end
   local number = 1
   if pattern then number = (tonumber(string.match(body, pattern)) or -1) + 1 end
   local needle = needles[number]
   if not needle or not string.find(body, needle, 1, true) then
      wrong = wrong + 1
      if sample == "" then sample = body end
   end
end

function done(summary, latency, _)
   local function say(name, value) io.write("bench ", name, " ", value, "\n") end
   say("seconds", summary.duration / 1e6)
   say("requests", summary.requests)
   for _, kind in ipairs({"connect", "read", "write", "timeout"}) do say(kind, summary.errors[kind]) end
   for _, share in ipairs({50, 90, 99}) do say("p" .. share, latency:percentile(share) / 1e3) end
   say("max", latency.max / 1e3)
   for _, thread in ipairs(threads) do
      say("wrong", thread:get("wrong"))
      for status, count in pairs(thread:get("statuses")) do say("status" .. status, count) end
      say("sample", (string.gsub(string.sub(thread:get("sample"), 1, 200), "%c", " ")))
      say("other", (string.gsub(string.sub(thread:get("other"), 1, 200), "%c", " ")))
   end
end
