-- The same registrations at etcd's v3 JSON gateway. Argument: round.
require("report")
local registration = require("registration")
local base64 = require("base64")
local headers = { ["Content-Type"] = "application/json" }
local next_name

function init(args)
  next_name = registration.naming(args[1])
end

function request()
  local service, id, n = next_name()
  return wrk.format("POST", "/v3/kv/put", headers,
    '{"key":"' .. base64("/services/" .. service .. "/" .. id)
    .. '","value":"' .. base64("{" .. registration.fields(n) .. "}") .. '"}')
end
