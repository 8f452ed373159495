-- Single registrations at callboard. Argument: round.
require("report")
local registration = require("registration")
local headers = { ["Content-Type"] = "application/json" }
local next_name

function init(args)
  next_name = registration.naming(args[1])
end

function request()
  local service, id, n = next_name()
  return wrk.format("PUT", "/v1/services/" .. service .. "/instances/" .. id, headers,
    "{" .. registration.fields(n) .. "}")
end
