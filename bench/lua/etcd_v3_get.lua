-- The same from etcd's v3 gateway: a range over the service. Arguments: round, services.
require("report")
local base64 = require("base64")
local headers = { ["Content-Type"] = "application/json" }
local round, services
local n = -1

function init(args)
  round, services = args[1], tonumber(args[2])
end

function request()
  n = (n + 1) % services
  local prefix = string.format("/services/%s%06d", round, n)
  return wrk.format("POST", "/v3/kv/range", headers,
    '{"key":"' .. base64(prefix .. "/") .. '","range_end":"' .. base64(prefix .. "0") .. '"}')
end
