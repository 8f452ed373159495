-- Batches of registrations at callboard. Arguments: round, operations in a batch.
require("report")
local registration = require("registration")
local headers = { ["Content-Type"] = "application/json" }
local next_name, size

function init(args)
  next_name, size = registration.naming(args[1]), tonumber(args[2])
end

function request()
  local operations = {}
  for i = 1, size do
    local service, id, n = next_name()
    operations[i] = '{"op":"register","service":"' .. service .. '","id":"' .. id .. '",'
      .. registration.fields(n) .. "}"
  end
  return wrk.format("POST", "/v1/batch", headers,
    '{"operations":[' .. table.concat(operations, ",") .. "]}")
end
