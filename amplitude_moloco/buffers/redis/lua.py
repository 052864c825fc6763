"""What the scripts share: functions in Lua, which stand before those that use them."""

from __future__ import annotations

from amplitude_moloco.buffers.redis.layout import GROUP

COMMON = f"""
local NEW, DUE, LATER, DUES, UNTRIED, AGES, DEAD, FLEET, BELL, META = unpack(KEYS)
local GROUP = '{GROUP}'
local call = redis.call
local now = tonumber(ARGV[1])
if not now then
    local time = call('TIME')
    now = time[1] * 1000000 + time[2]
end
local function text(number) return string.format('%.0f', number) end
local function member(number) return string.format('%016.0f', number) end
local function size_of_all() return tonumber(call('HGET', META, 'bytes') or '0') end
local function add(key, entry) call('XADD', key, '*', 'e', entry) end
-- Wakes one of the processes that wait for something to claim; see bell.py.
local function ring()
    if call('LLEN', BELL) == 0 then call('RPUSH', BELL, 1) end
end
-- The text of an entry in a stream; empty for what is none.
local function entry_of(found)
    local name, entry = unpack(found[2])
    return name == 'e' and #entry >= 32 and entry or ''
end
-- An entry is one text, its head and its tail; layout.py says what is in them.
local function entry_with(accepted, number, attempts, strikes, tail)
    return struct.pack('>ddI4I4', accepted, number, attempts, strikes) .. tail
end
local function tail_of(entry) return string.sub(entry, 25) end
"""

LOOKING = """
-- What lies in all keys now. -1 stands for none.
local function look()
    local first, age = call('XRANGE', NEW, '-', '+', 'COUNT', 1)[1], -1
    local untried = tonumber(call('ZRANGE', UNTRIED, 0, 0, 'WITHSCORES')[2] or '-1')
    local oldest = tonumber(call('ZRANGE', AGES, 0, 0, 'WITHSCORES')[2] or '-1')
    if first then
        local entry, accepted, number = entry_of(first), now, 0
        -- What is not an entry, the next claim of it clears away.
        if entry ~= '' then accepted, number = struct.unpack('>dd', entry) end
        if untried < 0 or number < untried then untried = number end
        if oldest < 0 or accepted < oldest then oldest = accepted end
    end
    if oldest >= 0 then age = math.max(0, now - oldest) end
    local due = call('ZRANGE', DUES, 0, 0, 'WITHSCORES')[2]
    local wait = -1
    if due then wait = math.max(0, tonumber(due) - now) end
    local meta = call('HMGET', META, 'born', 'last', 'bytes')
    return {
        meta[1] or '', tonumber(meta[2] or '0'), tonumber(meta[3] or '0'),
        call('XLEN', NEW), call('XPENDING', NEW, GROUP)[1],
        call('XLEN', DUE), call('XPENDING', DUE, GROUP)[1],
        call('ZCARD', DUES), call('XLEN', DEAD), untried, age, wait, now,
    }
end
"""

CLAIMING = """
-- Adds a claimed entry to the parts of an answer, as record.py reads it.
local function claimed(parts, which, found)
    local place, entry, count = found[1], entry_of(found), #parts
    parts[count + 1] = struct.pack('>BI4I4', which, #place, #entry)
    parts[count + 2], parts[count + 3] = place, entry
end
"""

HOLDING = """
-- The ids of those of these entries, all of one stream, that the consumer still has claimed.
local function held(key, entries, me)
    local first, last, found = math.huge, 0, {}
    for _, each in ipairs(entries) do
        local millis = tonumber(string.match(each.id, '^%d+'))
        first, last = math.min(first, millis), math.max(last, millis)
    end
    if #entries > 0 then
        local pending = call('XPENDING', key, GROUP, text(first), text(last), 1000000, me)
        for _, each in ipairs(pending) do found[each[1]] = true end
    end
    return found
end
"""
