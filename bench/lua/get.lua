-- The instances of a service at callboard. Arguments: round that registered them, services.
require("report")
local round, services
local n = -1

function init(args)
  round, services = args[1], tonumber(args[2])
end

function request()
  n = (n + 1) % services
  return wrk.format("GET", string.format("/v1/services/%s%06d/instances", round, n))
end
