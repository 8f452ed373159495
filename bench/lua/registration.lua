-- The same registration for every server under test: a new instance each time, three to a service.
local registration = {}

-- `round` keeps the instances of one window apart from those of any other.
function registration.naming(round)
  local n = -1
  return function()
    n = n + 1
    local service = string.format("%s%06d", round, math.floor(n / 3))
    return service, string.format("%s-%d", service, n % 3), n
  end
end

function registration.fields(n)
  return string.format(
    '"address":"10.%d.%d.%d","port":8080,"tags":["v2"],"meta":{"zone":"a"},"ttl":7200',
    math.floor(n / 65536) % 256, math.floor(n / 256) % 256, n % 256)
end

return registration
