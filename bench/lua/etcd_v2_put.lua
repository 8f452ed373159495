-- The same registrations at etcd's v2 API, the JSON as the key's value. Argument: round.
require("report")
local registration = require("registration")
local headers = { ["Content-Type"] = "application/x-www-form-urlencoded" }
local next_name

local function urlencoded(text)
  return (text:gsub("[^%w%-_.]", function(char) return string.format("%%%02X", char:byte()) end))
end

function init(args)
  next_name = registration.naming(args[1])
end

function request()
  local service, id, n = next_name()
  return wrk.format("PUT", "/v2/keys/services/" .. service .. "/" .. id, headers,
    "value=" .. urlencoded("{" .. registration.fields(n) .. "}"))
end
