-- The same from etcd's v2 API. Arguments: round that registered them, services.
require("report")
local round, services
local n = -1

function init(args)
  round, services = args[1], tonumber(args[2])
end

function request()
  n = (n + 1) % services
  return wrk.format("GET", string.format("/v2/keys/services/%s%06d?recursive=true", round, n))
end
