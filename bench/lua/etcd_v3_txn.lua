-- Registrations at etcd's v3 JSON gateway, many to a transaction. Arguments: round, puts in each.
require("report")
local registration = require("registration")
local base64 = require("base64")
local headers = { ["Content-Type"] = "application/json" }
local next_name, size

function init(args)
  next_name, size = registration.naming(args[1]), tonumber(args[2])
end

function request()
  local puts = {}
  for i = 1, size do
    local service, id, n = next_name()
    puts[i] = '{"requestPut":{"key":"' .. base64("/services/" .. service .. "/" .. id)
      .. '","value":"' .. base64("{" .. registration.fields(n) .. "}") .. '"}}'
  end
  return wrk.format("POST", "/v3/kv/txn", headers,
    '{"success":[' .. table.concat(puts, ",") .. "]}")
end
