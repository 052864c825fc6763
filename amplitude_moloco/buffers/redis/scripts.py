"""The scripts that Redis runs. Each is atomic, and safe to run again when its answer was lost.

The keys are those of ``Layout.keys``, and for ``APPEND`` the producer's. The first argument is the
time in microseconds, for tests, or empty for Redis's own. No script runs long: what it handles is
bounded by its caller. Many entries or outcomes are one argument or answer, packed: a client spends
far more time on a list of them.

When Redis has no memory left, it ends a script at its first command that needs some, unless the
script has written before: so ``APPEND`` and ``RESEND`` change nothing then, and all others begin
with a write that needs none. What they do frees as much as it takes.
"""

from __future__ import annotations

from amplitude_moloco.buffers.redis.layout import VERSION
from amplitude_moloco.buffers.redis.lua import CLAIMING, COMMON, HOLDING, LOOKING

PREPARE = (
    COMMON
    + f"""
-- Makes what is missing: both streams with their group, from their first entry on, and the marks of
-- this buffer. Returns the marks that are there: when it was made, for which target, which layout.
-- Redis without memory refuses even what is there already: so that is looked at first.
for _, key in ipairs({{NEW, DUE}}) do
    local is_there = false
    local groups = redis.pcall('XINFO', 'GROUPS', key)
    for _, each in ipairs(groups) do is_there = is_there or each[2] == GROUP end
    if not is_there then call('XGROUP', 'CREATE', key, GROUP, '0', 'MKSTREAM') end
end
for name, value in pairs({{born = ARGV[3], target = ARGV[2], layout = '{VERSION}'}}) do
    if call('HEXISTS', META, name) == 0 then call('HSET', META, name, value) end
end
return call('HMGET', META, 'born', 'target', 'layout')
"""
)

APPEND = (
    COMMON
    + """
-- Appends entries, each once: those that this producer has numbered no higher than its last one are
-- there already, since an answer was lost. Appends none beyond the bounds, and nothing is trimmed.
-- Arguments: the first entry's number, the bounds of events and bytes, how long to remember the
-- producer; then all entries in one text, each as its age in microseconds, its size and that of its
-- body, and the entry's tail. Returns how many entries are there, the last number there, its
-- events and bytes, and what was there before: the mark of the data, and its last number.
local born, last = unpack(call('HMGET', META, 'born', 'last'))
if not born then return redis.error_reply('NOGROUP not prepared') end
local before = tonumber(last or '0')
local written = tonumber(call('GET', KEYS[11]) or '0')
local first, most, most_bytes = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local events = call('XLEN', NEW) + call('XLEN', DUE) + call('ZCARD', DUES)
local bytes = events > 0 and size_of_all() or 0
local number, taken, added, entries, at = before, 0, 0, ARGV[6], 1
while at <= #entries do
    local age, size, body_size, start = struct.unpack('>dI4I4', entries, at)
    at = start + size
    local own = first + taken
    if own > written then
        if events >= most or bytes + body_size > most_bytes then break end
        number = number + 1
        add(NEW, entry_with(now - age, number, 0, 0, string.sub(entries, start, at - 1)))
        written, events, bytes, added = own, events + 1, bytes + body_size, added + 1
    end
    taken = taken + 1
end
if added > 0 then
    call('HSET', META, 'last', text(number), 'bytes', text(bytes))
    call('SET', KEYS[11], text(written), 'EX', ARGV[5])
    ring()
end
return {taken, number, events, bytes, born, before}
"""
)

CLAIM = (
    COMMON
    + LOOKING
    + CLAIMING
    + """
-- Claims entries for a consumer: first retries in the order in which they came due, then new ones
-- in their order, and of those the newest. What is not next in its stream moves to the other one,
-- and is read from there at once: so all that is in the other one is claimed.
-- Arguments: the consumer, the limit, how many of it are the newest, and how far a retry may lie
-- ahead: what lies further was stored before the clock was set back, and is due.
-- Returns the entries, and what lies in the buffer then.
local me, limit, newest, horizon = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local taken, reserved, room = {}, {}, limit
local function read(which, into, count)
    if count <= 0 then return end
    local found = call('XREADGROUP', 'GROUP', GROUP, me, 'COUNT', count,
        'STREAMS', KEYS[which], '>')
    for _, each in ipairs(found and found[1][2] or {}) do
        claimed(into, which, each)
        room = room - 1
    end
end
read(2, taken, room)
local wanted = math.min(newest, room)
if wanted > 0 then
    local last_read
    for _, each in ipairs(call('XINFO', 'GROUPS', NEW)) do
        if each[2] == GROUP then last_read = each[8] end
    end
    local places, untried, ages = {}, {}, {}
    local last = call('XREVRANGE', NEW, '+', '(' .. last_read, 'COUNT', wanted)
    for i = #last, 1, -1 do
        local entry = entry_of(last[i])
        if entry ~= '' then
            local accepted, number = struct.unpack('>dd', entry)
            add(DUE, entry)
            places[#places + 1] = last[i][1]
            untried[#untried + 1], untried[#untried + 2] = text(number), member(number)
            ages[#ages + 1], ages[#ages + 2] = text(accepted), member(number)
        end
    end
    if #places > 0 then
        call('XDEL', NEW, unpack(places))
        call('ZADD', UNTRIED, unpack(untried))
        call('ZADD', AGES, unpack(ages))
        read(2, reserved, #places)
    end
end
if room > 0 then
    local due = call('ZRANGEBYSCORE', DUES, '-inf', text(now), 'LIMIT', 0, room)
    if #due < room then
        local beyond = call('ZRANGEBYSCORE', DUES, '(' .. text(now + horizon), '+inf',
            'LIMIT', 0, room - #due)
        for _, each in ipairs(beyond) do due[#due + 1] = each end
    end
    if #due > 0 then
        local moved = 0
        for _, entry in ipairs(call('HMGET', LATER, unpack(due))) do
            if entry then
                add(DUE, entry)
                moved = moved + 1
            end
        end
        call('HDEL', LATER, unpack(due))
        call('ZREM', DUES, unpack(due))
        read(2, taken, moved)
    end
end
read(1, taken, room)
for _, each in ipairs(reserved) do taken[#taken + 1] = each end
if room == 0 then ring() end
return {table.concat(taken), look()}
"""
)

LOOK = (
    COMMON
    + LOOKING
    + """
-- Changes nothing. Returns what lies in the buffer.
return look()
"""
)

SETTLE = (
    COMMON
    + HOLDING
    + """
-- Learns what became of claimed entries. Those that their consumer has lost to another one stay.
-- Beyond the bound, the oldest dead letters are forgotten: they were not going to be delivered.
-- Arguments: the consumer, the bound, and all outcomes in one text, as outcome.py packs them.
-- Returns how many entries are another consumer's, and how many are gone.
call('PERSIST', META)
local me, most_letters, outcomes, at = ARGV[2], tonumber(ARGV[3]), ARGV[4], 1
local others, gone, freed = 0, 0, 0
local streams = {{}, {}}
while at <= #outcomes do
    local which, of_id, of_detail, number, size, start = struct.unpack('>BI4I4dI4', outcomes, at)
    local detail_at = start + of_id
    at = detail_at + of_detail
    local stream = streams[which]
    stream[#stream + 1] = {id = string.sub(outcomes, start, detail_at - 1),
        detail = string.sub(outcomes, detail_at, at - 1), number = number, size = size}
end
local function give_back(entry, detail)
    local _, delay, attempts, strikes = struct.unpack('>BdI4I4', detail)
    local accepted, number = struct.unpack('>dd', entry)
    local name = member(number)
    call('HSET', LATER, name, entry_with(accepted, number, attempts, strikes, tail_of(entry)))
    call('ZADD', DUES, text(now + delay), name)
    if delay == 0 then ring() end
    call('ZADD', AGES, text(accepted), name)
    if attempts == 0 then
        call('ZADD', UNTRIED, text(number), name)
    else
        call('ZREM', UNTRIED, name)
    end
end
local function bury(entry, detail)
    local _, attempts, reason, status, start = struct.unpack('>BI4ss', detail)
    local accepted, number = struct.unpack('>dd', entry)
    local beyond = math.min(call('XLEN', DEAD) + 1 - most_letters, 100)
    if beyond > 0 then
        for _, letter in ipairs(call('XRANGE', DEAD, '-', '+', 'COUNT', beyond)) do
            call('XDEL', DEAD, letter[1])
        end
    end
    call('XADD', DEAD, '*', 'e',
        entry_with(accepted, number, attempts, 0, tail_of(entry)), 'z', text(now),
        'r', reason, 'c', status, 'm', string.sub(detail, start))
end
for which, stream in ipairs(streams) do
    local key, settled, ended = KEYS[which], {}, {}
    local mine = held(key, stream, me)
    for _, each in ipairs(stream) do
        if not mine[each.id] then
            others = others + 1
        else
            settled[#settled + 1] = each.id
            local is_delivered = each.detail == ''
            local found = not is_delivered and call('XRANGE', key, each.id, each.id)[1]
            if found and string.byte(each.detail) == 1 then
                give_back(entry_of(found), each.detail)
            else
                if found then bury(entry_of(found), each.detail) end
                gone = gone + ((found or is_delivered) and 0 or 1)
                if which == 2 then ended[#ended + 1] = member(each.number) end
                freed = freed + each.size
            end
        end
    end
    if #settled > 0 then
        call('XACK', key, GROUP, unpack(settled))
        call('XDEL', key, unpack(settled))
    end
    if #ended > 0 then
        call('ZREM', UNTRIED, unpack(ended))
        call('ZREM', AGES, unpack(ended))
    end
end
if freed > 0 then call('HINCRBY', META, 'bytes', text(-freed)) end
return {others, gone}
"""
)

RESEND = (
    COMMON
    + """
-- Turns dead letters into new entries, accepted now. Arguments: their ids. Returns for each whether
-- it was there, and the last number in the buffer.
if call('HEXISTS', META, 'born') == 0 then return redis.error_reply('NOGROUP not prepared') end
local number = tonumber(call('HGET', META, 'last') or '0')
local bytes, done = size_of_all(), {}
for at = 2, #ARGV do
    local found = call('XRANGE', DEAD, ARGV[at], ARGV[at])[1]
    if found then
        number = number + 1
        local entry = entry_of(found)
        local of_id, of_sync = struct.unpack('>I4I4', entry, 25)
        add(NEW, entry_with(now, number, 0, 0, tail_of(entry)))
        call('XDEL', DEAD, ARGV[at])
        bytes = bytes + #entry - 32 - of_id - of_sync
    end
    done[#done + 1] = found and 1 or 0
end
call('HSET', META, 'last', text(number), 'bytes', text(bytes))
ring()
return {done, number}
"""
)

PURGE = (
    COMMON
    + """
-- Deletes dead letters. Arguments: their ids. Returns for each whether it was there.
local done = {}
for at = 2, #ARGV do done[#done + 1] = call('XDEL', DEAD, ARGV[at]) end
return done
"""
)

RENEW = (
    COMMON
    + """
-- Keeps claims for one lease more, but takes none from another consumer. Arguments: the consumer;
-- then each entry's stream and id. Returns whether each is still the consumer's.
local me, kept = ARGV[2], {}
for at = 3, #ARGV, 2 do
    local key, id = KEYS[tonumber(ARGV[at])], ARGV[at + 1]
    local is_ours = #call('XPENDING', key, GROUP, id, id, 1, me) > 0
    if is_ours then call('XCLAIM', key, GROUP, me, 0, id, 'JUSTID') end
    kept[#kept + 1] = is_ours and 1 or 0
end
return kept
"""
)

TAKE_OVER = (
    COMMON
    + CLAIMING
    + """
-- Claims what other consumers have not renewed for a lease: they are dead, or as good as that.
-- Entries that were deleted while they were claimed are lost: they are cleared away, and counted.
-- Arguments: the consumer, the lease in milliseconds, the limit. Returns the entries, and how many
-- are lost.
local me, lease, limit = ARGV[2], ARGV[3], tonumber(ARGV[4])
local taken, count, lost = {}, 0, 0
for which = 1, 2 do
    local key, cursor = KEYS[which], '0-0'
    for _ = 1, 20 do
        if count >= limit then break end
        local found = call('XAUTOCLAIM', key, GROUP, me, lease, cursor, 'COUNT', limit - count,
            'JUSTID')
        for _, id in ipairs(found[2]) do
            local entry = call('XRANGE', key, id, id)[1]
            if entry then
                claimed(taken, which, entry)
                count = count + 1
            else -- as Redis 6.2 has them
                call('XACK', key, GROUP, id)
                lost = lost + 1
            end
        end
        lost = lost + #(found[3] or {})
        cursor = found[1]
        if cursor == '0-0' then break end
    end
end
return {table.concat(taken), lost}
"""
)

SWEEP = (
    COMMON
    + """
-- Deletes consumers that hold nothing and were not seen for this many milliseconds, or that are the
-- one that is named. One that holds something stays: deleting it would lose what it holds.
-- Arguments: the name, or empty; the milliseconds.
for _, key in ipairs({NEW, DUE}) do
    for _, each in ipairs(call('XINFO', 'CONSUMERS', key, GROUP)) do
        local found = {}
        for at = 1, #each, 2 do found[each[at]] = each[at + 1] end
        local is_over = found.name == ARGV[2] or found.idle > tonumber(ARGV[3])
        if found.pending == 0 and is_over then
            call('XGROUP', 'DELCONSUMER', key, GROUP, found.name)
        end
    end
end
return 1
"""
)

LETTERS = (
    COMMON
    + """
-- Changes nothing. Returns the id of the last dead letter to be read, and a page of letters.
-- Arguments: from where, until where ('+': the last one now), how many.
local last_id = ARGV[3]
if last_id == '+' then
    local last = call('XREVRANGE', DEAD, '+', '-', 'COUNT', 1)[1]
    last_id = last and last[1] or '0-0'
end
return {last_id, call('XRANGE', DEAD, ARGV[2], last_id, 'COUNT', ARGV[4])}
"""
)

MARKS = (
    COMMON
    + """
-- Changes nothing. Returns the target of this buffer; nil if there is no buffer.
return call('HGET', META, 'target')
"""
)

AGREE = (
    COMMON
    + """
-- Keeps a text on which all processes agree. Stores a new one if no process has stored another one
-- since the caller has read it. If an answer was lost, the caller reads its own text, and goes on
-- from there. Arguments: the version that was read, or -1 to read alone; the new text. Returns the
-- version and the text that are there, the time, and whether the new one was stored.
call('PERSIST', FLEET)
local found = call('HMGET', FLEET, 'version', 'text')
local version, old = tonumber(found[1] or '0'), found[2] or ''
if tonumber(ARGV[2]) ~= version then return {version, old, now, 0} end
call('HSET', FLEET, 'version', text(version + 1), 'text', ARGV[3])
return {version + 1, ARGV[3], now, 1}
"""
)
