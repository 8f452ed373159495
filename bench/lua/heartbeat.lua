-- Single renewals. Argument: services of three that are registered as web000, web001, ...
require("report")
local instances
local n = -1

function init(args)
  instances = tonumber(args[1]) * 3
end

function request()
  n = (n + 1) % instances
  local service = string.format("web%03d", math.floor(n / 3))
  return wrk.format("PUT",
    string.format("/v1/services/%s/instances/%s-%d/heartbeat", service, service, n % 3))
end
