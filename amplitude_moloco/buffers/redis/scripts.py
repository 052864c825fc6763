"""The scripts that Redis runs. Each is atomic, and safe to run again when its answer was lost.

The keys are those of ``Layout.keys``, and for ``APPEND`` the producer's. The first argument is the
time in microseconds, for tests, or empty for Redis's own. No script runs long: what it handles is
bounded by its caller.

When Redis has no memory left, it ends a script at its first command that needs some, unless the
script has written before: so ``APPEND`` and ``RESEND`` change nothing then, and all others begin
with a write that needs none. What they do frees as much as it takes.
"""

from __future__ import annotations

from amplitude_moloco.buffers.redis.layout import GROUP, VERSION

_COMMON = f"""
local NEW, DUE, LATER, DUES, UNTRIED, AGES, DEAD, FLEET, META =
    KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local GROUP = '{GROUP}'
local call = redis.call
local now = tonumber(ARGV[1])
if not now then
    local time = call('TIME')
    now = time[1] * 1000000 + time[2]
end
local function text(number) return string.format('%.0f', number) end
local function member(number) return string.format('%016.0f', number) end
local function is_mine(key, id, owner)
    return #call('XPENDING', key, GROUP, id, id, 1, owner) > 0
end
local function renew(key, id, owner) call('XCLAIM', key, GROUP, owner, 0, id, 'JUSTID') end
-- The values of an entry's fields: id, sync, body, accepted, number, attempts, strikes.
local function values(fields)
    return fields[2], fields[4], fields[6], fields[8], fields[10], fields[12], fields[14]
end
local function add(key, id, sync, body, accepted, number, attempts, strikes)
    call('XADD', key, '*', 'i', id, 's', sync, 'b', body, 'a', accepted, 'n', number,
        't', attempts, 'k', strikes)
end
-- An entry as one text, which costs the client far less to read than a list: the place of its
-- stream among the keys, lengths and numbers, then its id in the stream, its own id, sync and body.
-- What is no entry has the number -1.
local function packed(which, place, fields)
    local id, sync, body, accepted, number, attempts, strikes = values(fields)
    if not strikes then
        id, sync, body, accepted, number, attempts, strikes = '', '', '', 0, -1, 0, 0
    end
    return struct.pack('>BBI4I4I4ddI4I4', which, #place, #id, #sync, #body, tonumber(accepted),
        tonumber(number), tonumber(attempts), tonumber(strikes)) .. place .. id .. sync .. body
end
local function total()
    return call('XLEN', NEW) + call('XLEN', DUE) + call('ZCARD', DUES)
end
local function size_of_all() return tonumber(call('HGET', META, 'bytes') or '0') end
"""

_LOOK = """
-- What lies in all keys now. -1 stands for none.
local function look()
    local first, age = call('XRANGE', NEW, '-', '+', 'COUNT', 1)[1], -1
    local untried = tonumber(call('ZRANGE', UNTRIED, 0, 0, 'WITHSCORES')[2] or '-1')
    local oldest = tonumber(call('ZRANGE', AGES, 0, 0, 'WITHSCORES')[2] or '-1')
    if first then
        local _, _, _, accepted, number = values(first[2])
        -- What is not an entry, the next claim of it clears away.
        accepted, number = tonumber(accepted or '') or now, tonumber(number or '') or 0
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

PREPARE = (
    _COMMON
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
    _COMMON
    + """
-- Appends records, each once: those that this producer has numbered no higher than its last one are
-- there already, since an answer was lost. Appends none beyond the bounds, and nothing is trimmed.
-- Arguments: the first record's number, the bounds of events and bytes, how long to remember the
-- producer; then all records in one text, each as the lengths of its id, sync and body, its age in
-- microseconds, and these three: packing them is what costs the client most. Returns how many
-- records are there, the last number in the buffer, and how many events and bytes it has.
if call('HEXISTS', META, 'born') == 0 then return redis.error_reply('NOGROUP not prepared') end
local written = tonumber(call('GET', KEYS[10]) or '0')
local first, most, most_bytes = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local events, bytes = total(), size_of_all()
if events == 0 then bytes = 0 end
local number = tonumber(call('HGET', META, 'last') or '0')
local taken, added, records, at = 0, 0, ARGV[6], 1
while at <= #records do
    local own = first + taken
    local of_id, of_sync, size, age, start = struct.unpack('>I4I4I4d', records, at)
    local body_at = start + of_id + of_sync
    at = body_at + size
    if own > written then
        if events >= most or bytes + size > most_bytes then break end
        number = number + 1
        add(NEW, string.sub(records, start, start + of_id - 1),
            string.sub(records, start + of_id, body_at - 1), string.sub(records, body_at, at - 1),
            text(now - age), text(number), '0', '0')
        written, events, bytes, added = own, events + 1, bytes + size, added + 1
    end
    taken = taken + 1
end
if added > 0 then
    call('HSET', META, 'last', text(number), 'bytes', text(bytes))
    call('SET', KEYS[10], text(written), 'EX', ARGV[5])
end
return {taken, number, events, bytes}
"""
)

CLAIM = (
    _COMMON
    + _LOOK
    + """
-- Claims entries for a consumer: first retries in the order in which they came due, then new ones
-- in their order, and of those the newest. What is not next in its stream moves to the other one,
-- and is read from there at once: so all that is in the other one is claimed.
-- Arguments: the consumer, the limit, how many of it are the newest, and how far a retry may lie
-- ahead: what lies further was stored before the clock was set back, and is due.
-- Returns the entries, and what lies in the buffer then.
local me, limit, newest, horizon = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local taken, reserved = {}, {}
local function read(which, into, count)
    if count <= 0 then return end
    local found = call('XREADGROUP', 'GROUP', GROUP, me, 'COUNT', count,
        'STREAMS', KEYS[which], '>')
    for _, entry in ipairs(found and found[1][2] or {}) do
        into[#into + 1] = packed(which, entry[1], entry[2])
    end
end
read(2, taken, limit)
local wanted = math.min(newest, limit - #taken)
if wanted > 0 then
    local moved = 0
    local last = call('XREVRANGE', NEW, '+', '-', 'COUNT', wanted)
    for i = #last, 1, -1 do
        local key, fields = last[i][1], last[i][2]
        if #call('XPENDING', NEW, GROUP, key, key, 1) == 0 then
            local _, _, _, accepted, number = values(fields)
            add(DUE, values(fields))
            call('XDEL', NEW, key)
            call('ZADD', UNTRIED, number, member(number))
            call('ZADD', AGES, accepted, member(number))
            moved = moved + 1
        end
    end
    read(2, reserved, moved)
end
local room = limit - #taken - #reserved
if room > 0 then
    local due = call('ZRANGEBYSCORE', DUES, '-inf', text(now), 'LIMIT', 0, room)
    if #due < room then
        local beyond = call('ZRANGEBYSCORE', DUES, '(' .. text(now + horizon), '+inf',
            'LIMIT', 0, room - #due)
        for _, each in ipairs(beyond) do due[#due + 1] = each end
    end
    local moved = 0
    for _, each in ipairs(due) do
        local packed = call('HGET', LATER, each)
        if packed then
            add(DUE, unpack(cmsgpack.unpack(packed)))
            moved = moved + 1
        end
        call('HDEL', LATER, each)
        call('ZREM', DUES, each)
    end
    read(2, taken, moved)
end
read(1, taken, limit - #taken - #reserved)
for _, each in ipairs(reserved) do taken[#taken + 1] = each end
return {table.concat(taken), look()}
"""
)

LOOK = (
    _COMMON
    + _LOOK
    + """
-- Changes nothing. Returns what lies in the buffer.
return look()
"""
)

ACK = (
    _COMMON
    + """
-- Removes entries that were delivered. Those that their consumer has lost to another one stay.
-- Arguments: the consumer; then all entries in one text, each as its stream, the length of its id,
-- its number and size, and the id. Returns whether each was removed.
local me, entries, at, freed, done = ARGV[2], ARGV[3], 1, 0, {}
while at <= #entries do
    local which, length, number, size, start = struct.unpack('>BBdI4', entries, at)
    at = start + length
    local key, id = KEYS[which], string.sub(entries, start, at - 1)
    local is_ours = is_mine(key, id, me)
    if is_ours then
        call('XACK', key, GROUP, id)
        call('XDEL', key, id)
        if which == 2 then
            call('ZREM', UNTRIED, member(number))
            call('ZREM', AGES, member(number))
        end
        freed = freed + size
    end
    done[#done + 1] = is_ours and 1 or 0
end
if freed > 0 then call('HINCRBY', META, 'bytes', text(-freed)) end
return done
"""
)

RETURN = (
    _COMMON
    + """
-- Gives entries back, to be due again after a delay. Those that their consumer has lost stay.
-- Arguments: the consumer; then each entry's stream and id, its delay in microseconds, and its new
-- counts. Returns for each whether it was given back (1), is another consumer's (0), or is gone
-- (-1).
local me, done = ARGV[2], {}
for at = 3, #ARGV, 5 do
    local which, key, id = tonumber(ARGV[at]), KEYS[tonumber(ARGV[at])], ARGV[at + 1]
    local outcome = 0
    if is_mine(key, id, me) then
        local found = call('XRANGE', key, id, id)[1]
        outcome = -1
        if found then
            outcome = 1
            renew(key, id, me)
            local event, sync, body, accepted, number = values(found[2])
            local attempts, name = ARGV[at + 3], member(number)
            local packed =
                cmsgpack.pack({event, sync, body, accepted, number, attempts, ARGV[at + 4]})
            call('HSET', LATER, name, packed)
            call('ZADD', DUES, text(now + tonumber(ARGV[at + 2])), name)
            call('ZADD', AGES, accepted, name)
            if tonumber(attempts) == 0 then
                call('ZADD', UNTRIED, number, name)
            else
                call('ZREM', UNTRIED, name)
            end
        end
        call('XACK', key, GROUP, id)
        call('XDEL', key, id)
    end
    done[#done + 1] = outcome
end
return done
"""
)

BURY = (
    _COMMON
    + """
-- Turns entries into dead letters. Those that their consumer has lost stay. Beyond the bound, the
-- oldest letters are forgotten: they were not going to be delivered.
-- Arguments: the consumer, and the bound; then each entry's stream and id, its attempts, and the
-- reason, status and message. Returns for each as RETURN does.
local me, done, freed = ARGV[2], {}, 0
for at = 4, #ARGV, 6 do
    local which, key, id = tonumber(ARGV[at]), KEYS[tonumber(ARGV[at])], ARGV[at + 1]
    local outcome = 0
    if is_mine(key, id, me) then
        local found = call('XRANGE', key, id, id)[1]
        outcome = -1
        if found then
            outcome = 1
            renew(key, id, me)
            local event, sync, body, accepted, number = values(found[2])
            call('XADD', DEAD, 'MAXLEN', '~', ARGV[3], '*', 'i', event, 's', sync, 'b', body,
                'a', accepted, 'z', text(now), 't', ARGV[at + 2], 'r', ARGV[at + 3],
                'c', ARGV[at + 4], 'm', ARGV[at + 5])
            call('ZREM', UNTRIED, member(number))
            call('ZREM', AGES, member(number))
            freed = freed + #body
        end
        call('XACK', key, GROUP, id)
        call('XDEL', key, id)
    end
    done[#done + 1] = outcome
end
if freed > 0 then call('HINCRBY', META, 'bytes', text(-freed)) end
return done
"""
)

RESEND = (
    _COMMON
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
        local id, sync, body = found[2][2], found[2][4], found[2][6]
        add(NEW, id, sync, body, text(now), text(number), '0', '0')
        call('XDEL', DEAD, ARGV[at])
        bytes = bytes + #body
    end
    done[#done + 1] = found and 1 or 0
end
call('HSET', META, 'last', text(number), 'bytes', text(bytes))
return {done, number}
"""
)

PURGE = (
    _COMMON
    + """
-- Deletes dead letters. Arguments: their ids. Returns for each whether it was there.
local done = {}
for at = 2, #ARGV do done[#done + 1] = call('XDEL', DEAD, ARGV[at]) end
return done
"""
)

RENEW = (
    _COMMON
    + """
-- Keeps claims for one lease more, but takes none from another consumer. Arguments: the consumer;
-- then each entry's stream and id. Returns whether each is still the consumer's.
local me, kept = ARGV[2], {}
for at = 3, #ARGV, 2 do
    local key, id = KEYS[tonumber(ARGV[at])], ARGV[at + 1]
    local is_ours = is_mine(key, id, me)
    if is_ours then renew(key, id, me) end
    kept[#kept + 1] = is_ours and 1 or 0
end
return kept
"""
)

TAKE_OVER = (
    _COMMON
    + """
-- Claims what other consumers have not renewed for a lease: they are dead, or as good as that.
-- Entries that were deleted while they were claimed are lost: they are cleared away, and counted.
-- Arguments: the consumer, the lease in milliseconds, the limit. Returns the entries, and how many
-- are lost.
local me, lease, limit = ARGV[2], ARGV[3], tonumber(ARGV[4])
local taken, lost = {}, 0
for which = 1, 2 do
    local key, cursor = KEYS[which], '0-0'
    for _ = 1, 20 do
        if #taken >= limit then break end
        local found = call('XAUTOCLAIM', key, GROUP, me, lease, cursor, 'COUNT', limit - #taken,
            'JUSTID')
        for _, id in ipairs(found[2]) do
            local entry = call('XRANGE', key, id, id)[1]
            if entry then
                taken[#taken + 1] = packed(which, id, entry[2])
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
    _COMMON
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
    _COMMON
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
    _COMMON
    + """
-- Changes nothing. Returns the target of this buffer; nil if there is no buffer.
return call('HGET', META, 'target')
"""
)

AGREE = (
    _COMMON
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
