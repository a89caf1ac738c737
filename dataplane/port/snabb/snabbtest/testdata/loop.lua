-- The library in a LuaJIT process, as in Snabb's: loaded by ffi, called from compiled Lua, which owns the thread and never
-- waits. Sends FRAMES frames to each of two NICs once the file GO is there, and stops the library when it is gone.
-- usage: luajit loop.lua LIBRARY FRAMES GO
local ffi = require("ffi")
ffi.cdef[[
void firehose_start(void);
void firehose_stop(void);
int firehose_callback_v1(const char *pciaddr, char **packets, void *rxring, int ring_size, int index);
struct rdesc {
   uint64_t address;
   uint16_t length, cksum;
   uint8_t status, errors;
   uint16_t vlan;
} __attribute__((packed));
]]
local library, frames, go = arg[1], tonumber(arg[2]), arg[3]
local so = ffi.load(library)
local ring_size = 1024

local function exists(path)
   local f = io.open(path)
   if f then f:close() end
   return f ~= nil
end

local nics = {}
for _, name in ipairs({"0000:03:00.0", "0000:03:00.1"}) do
   local nic = {name = name, ring = ffi.new("struct rdesc[?]", ring_size), packets = ffi.new("char*[?]", ring_size),
      buffers = {}, index = 0, fill = 0, sent = 0}
   for i = 0, ring_size - 1 do
      local b = ffi.new("uint8_t[2048]")
      b[12], b[13], b[14] = 0x08, 0x00, 0x45
      b[16], b[17] = 0, 46                             -- of the IP packet
      b[23] = 17                                       -- UDP
      b[26], b[27], b[29] = 198, 18, i % 251
      b[30], b[32], b[33] = 192, 2, i % 7
      nic.buffers[i] = b                               -- else it would be collected
      nic.packets[i] = ffi.cast("char*", b)
   end
   nics[#nics + 1] = nic
end

local function receive(nic, n)
   for _ = 1, n do
      local d = nic.ring[nic.fill]
      if d.status ~= 0 or nic.sent == frames then return end
      d.length, d.status = 60, 3
      nic.fill = (nic.fill + 1) % ring_size
      nic.sent = nic.sent + 1
   end
end

local function poll(nic)
   nic.index = so.firehose_callback_v1(nic.name, nic.packets, nic.ring, ring_size, nic.index)
end

so.firehose_start()
local going = false
while true do
   for i = 1, 10000 do
      for _, nic in ipairs(nics) do
         if going then receive(nic, i % 200) end
         poll(nic)
      end
   end
   local there = exists(go)
   if going and not there then break end
   going = there
end
for _, nic in ipairs(nics) do
   assert(nic.sent == frames and nic.index == nic.fill, nic.name .. " sent only " .. nic.sent)
end
so.firehose_stop()
