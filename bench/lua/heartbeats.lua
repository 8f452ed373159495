-- Renewals in batches. Arguments: services of three, renewals in a call.
require("report")
local headers = { ["Content-Type"] = "application/json" }
local calls = {}
local n = -1

-- All calls are made beforehand: the load must not cost more than the answer.
function init(args)
  local instances, size = tonumber(args[1]) * 3, tonumber(args[2])
  for first = 0, instances - 1, size do
    local pairs_json = {}
    for i = first, first + size - 1 do
      local number = i % instances
      local service = string.format("web%03d", math.floor(number / 3))
      pairs_json[#pairs_json + 1] =
        string.format('["%s","%s-%d"]', service, service, number % 3)
    end
    calls[#calls + 1] = wrk.format("POST", "/v1/heartbeats", headers,
      '{"instances":[' .. table.concat(pairs_json, ",") .. "]}")
  end
end

function request()
  n = (n + 1) % #calls
  return calls[n + 1]
end
