-- etcd's v3 gateway takes keys and values in base64.
local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local char = {}
for i = 0, 63 do char[i] = alphabet:sub(i + 1, i + 1) end

return function(text)
  local out = {}
  for i = 1, #text, 3 do
    local a, b, c = text:byte(i, i + 2)
    local bits = a * 65536 + (b or 0) * 256 + (c or 0)
    out[#out + 1] = char[math.floor(bits / 262144)]
    out[#out + 1] = char[math.floor(bits / 4096) % 64]
    out[#out + 1] = b and char[math.floor(bits / 64) % 64] or "="
    out[#out + 1] = c and char[bits % 64] or "="
  end
  return table.concat(out)
end
