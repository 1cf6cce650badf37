-- dlock.lua: everything that libdlock does on a master, one operation a call.
--
-- KEYS[1] is the lock's key K (operations on a lock); ARGV[1] is the operation.
-- A reply is an array that begins with a code and the master's clock in microseconds; or, where there
-- is nothing else to tell, a number: the clock of an A that has taken K with its own proposal, 1 of an R.
-- TIME is read once, or not at all; expiries are computed from it, or count from the same moment.
--
--   K                string: exclusive, the holder's token
--                    sorted set: shared, token -> expiry (ms, this clock)
--   dlock!fence      sorted set: K -> highest fence accepted
--   dlock!epoch      which incarnation of this server the clients know
--   dlock!quarantine present while this server must not vote
--   dlock!cluster    version, cluster id, number of masters, max_ttl
--   dlock!queue:K    sorted set: who waits for K, in the order of their tickets; a member is
--                    mode:ttl ms:channel:token
--   dlock!broken:T   token T was removed by an operator: never repaired
--   dlock!data:K     hash: what the holder of an exclusive K lets travel with it: t its token, v the version,
--                    d the bytes, h the first 128 of them. Believed only while t is the token at K; a lock
--                    with which nothing travels never asks for it
--
-- Numbers of 16 digits are never passed through tostring(), which corrupts
-- them: they travel as they came, or through whole().
--
-- Each command and each function that is made costs time, and the server does nothing else meanwhile. So
-- what takes and gives back a lock that nobody else wants comes first, and what only others need after it.
local call, try = redis.call, redis.pcall
local operation, epoch, token, K = ARGV[1], ARGV[2], ARGV[3], KEYS[1]
local FENCE, EPOCH, QUARANTINE, CLUSTER = 'dlock!fence', 'dlock!epoch', 'dlock!quarantine', 'dlock!cluster'
local DATA, QUEUE = 'dlock!data:', 'dlock!queue:'
local SKEW_US = 2000000 -- the same as in core/effect.h
local us, ms -- this server's clock

local function read_clock()
  local time = call('TIME')
  us = time[1] * 1000000 + time[2]
  ms = (us - us % 1000) / 1000
end

-- In two halves, for a server whose integers have 32 bits; of a whole number that is not negative.
local function whole(x)
  if x < 10000000 then return string.format('%d', x) end
  local low = x % 10000000
  return string.format('%d%07d', (x - low) / 10000000, low)
end

local WAITER = '^([XS]):(%d+):([^:]+):(%x+%-%x+%-.+)$'
local values -- what is at K if it is a string, and at EPOCH; of R also at QUARANTINE
local had = 0 -- R: 1 when it was mine
local nobody_waits -- nor is anything at K
local granted -- the fence of whom this call hands the lock to; the same for all that it tries
local taken_out -- who is first in the queue and was taken out of it already: member and ticket

-- What is asked most, in the fewest commands and with the same result as below: A where nobody is and nobody waits,
-- and R where nobody waits, or the next one wants to write, and hears.
if operation == 'A' and not ARGV[7] and ARGV[4] == 'X' then
  if call('EXISTS', K, QUEUE .. K) == 0 and call('GET', EPOCH) == epoch then
    read_clock()
    local proposal = tonumber(ARGV[6])
    if proposal > us - SKEW_US and proposal <= us + SKEW_US and try('ZADD', FENCE, 'GT', 'CH', ARGV[6], K) == 1 then
      call('SET', K, token, 'PX', ARGV[5])
      return us
    end
  end
elseif operation == 'R' then
  values = call('MGET', K, EPOCH, QUARANTINE)
  if values[1] == token and values[2] == epoch and not values[3] and not ARGV[8] and tonumber(ARGV[6]) > 0
      and ARGV[4] % 64 ~= 0 then
    local queue = QUEUE .. K
    if ARGV[7] then call('ZREM', queue, ARGV[7]) end
    taken_out = call('ZPOPMIN', queue)
    if not taken_out[1] then
      call('DEL', K)
      if try('ZADD', FENCE, 'XX', 'GT', 'CH', ARGV[4], K) == 1 then return 1 end
      values[1], had, nobody_waits, taken_out = nil, 1, true, nil
    else
      local next, offer = tonumber(ARGV[5]), tonumber(ARGV[6])
      local mode, ttl, channel, waiter = string.match(taken_out[1], WAITER)
      read_clock()
      if mode == 'X' and next > tonumber(ARGV[4]) and next > us - SKEW_US and next <= us + SKEW_US
          and try('ZADD', FENCE, 'GT', 'CH', ARGV[5], K) == 1 then
        granted = next
        taken_out = nil
        ttl = tonumber(ttl)
        local expiry = whole(ms + (ttl < offer and ttl or offer))
        local heard = try('PUBLISH', channel, 'G ' .. ARGV[5] .. ' ' .. whole(us) .. ' ' .. expiry .. ' ' .. epoch .. ' ' .. waiter)
        if type(heard) == 'number' and heard > 0 then
          call('SET', K, waiter, 'PXAT', expiry)
          return 1
        end
      end
    end
  end
end

local QUEUE_MS = 300000 -- a queue of which nobody was heard for so long is gone
local DAY_US = 86400000000
if not us then read_clock() end

-- V: look, change nothing: what this server knows of itself and of its cluster.
-- I: introduce. ARGV: 2 incarnation, 3 durable now ('1', '0', '?'), 4 '1' when
-- a stored mark of durability may be believed, 5 cluster text, 6 quarantine ms,
-- 7 which of the masters this is: a mark that was copied from another is none.
-- N: an operator's word that this server is new; the same arguments.
if operation == 'V' or operation == 'I' or operation == 'N' then
  local incarnation, durable, believe = ARGV[2], ARGV[3], ARGV[4]
  local function view()
    return {1, us, call('GET', EPOCH) or '', call('PTTL', QUARANTINE),
            call('GET', CLUSTER) or '', call('ZCARD', FENCE)}
  end
  if operation == 'V' then return view() end
  local stored = call('GET', EPOCH)
  local same = stored and string.sub(stored, 1, #incarnation) == incarnation
  local marked = stored and string.sub(stored, -7) == ':always'
  local own = ':' .. ARGV[7] .. ':always'
  local mark = (durable == '1' or (durable == '?' and same and marked)) and own or ''
  if operation == 'N' then
    call('SET', EPOCH, incarnation .. ':' .. whole(us) .. mark)
    call('DEL', QUARANTINE)
    call('SET', CLUSTER, ARGV[5])
    return view()
  end
  if not same then
    -- The quarantine first: a crash between the two must not skip it. Fences that are left may be old ones:
    -- none counts as more.
    if not (marked and believe == '1' and string.sub(stored, -#own) == own) then
      call('SET', QUARANTINE, '1', 'PX', ARGV[6])
      call('DEL', FENCE)
    end
    call('SET', EPOCH, incarnation .. ':' .. whole(us) .. mark)
  elseif marked ~= (mark ~= '') then
    call('SET', EPOCH, incarnation .. ':' .. whole(us) .. mark)
  end
  call('SET', CLUSTER, ARGV[5], 'NX')
  return view()
end

-- The key of readers lives as long as the last of them. Whether there is one.
local function outlast(key)
  local last = call('ZRANGE', key, -1, -1, 'WITHSCORES')[2]
  if last then call('PEXPIREAT', key, last) end
  return last
end

-- What is at a key that is no string: none, zset (ours), other. Readers past their expiry are dropped.
local function settle(key)
  local first = try('ZRANGE', key, 0, 0, 'WITHSCORES')
  if first.err then return 'other' end
  if not first[1] then return 'none' end
  if not string.match(first[1], '^%x+%-%x+%-') then return 'other' end
  if tonumber(first[2]) <= ms then call('ZREMRANGEBYSCORE', key, '-inf', ms) end
  return outlast(key) and 'zset' or 'none'
end

-- Q: who holds K, and who waits for it in which mode, the first 1,000 in their order; then how many wait.
-- L: one step of the list of all, ARGV: 2 cursor, 3 pattern; each with how many wait for it.
-- B: an operator removes whoever is there. ARGV: 4 ms that the mark must live.
if operation == 'Q' or operation == 'L' or operation == 'B' then
  -- Who is at a key: fence, type, then token and milliseconds left of each. Of an exclusive lock, if `field` is
  -- given, also what travels with it: version, and bytes (d all, h the first 128).
  local function holders(key, field)
    local kind = call('TYPE', key).ok == 'string' and 'string' or settle(key)
    local found = {key, call('ZSCORE', FENCE, key) or '', kind}
    if kind == 'string' then
      found[4], found[5] = call('GET', key), call('PTTL', key)
      local there = field and call('HMGET', DATA .. key, 't', 'v', field)
      if there and there[1] == found[4] then found[6], found[7] = there[2], there[3] end
    elseif kind == 'zset' then
      local readers = call('ZRANGE', key, 0, -1, 'WITHSCORES')
      for i = 1, #readers, 2 do
        found[#found + 1] = readers[i]
        found[#found + 1] = readers[i + 1] - ms
      end
    end
    return found
  end
  if operation == 'Q' then
    local waiters = {}
    for i, member in ipairs(call('ZRANGE', QUEUE .. K, 0, 999)) do
      local mode, waiter = string.match(member, '^(.):%d+:[^:]*:(.+)$')
      waiters[i] = (mode or '?') .. ':' .. (waiter or member)
    end
    return {1, us, holders(K, 'd'), waiters, call('ZCARD', QUEUE .. K)}
  end
  if operation == 'L' then
    local step = call('SCAN', ARGV[2], 'MATCH', ARGV[3], 'COUNT', 500)
    local reply = {1, us, step[1]}
    for _, key in ipairs(step[2]) do
      if string.sub(key, 1, 6) ~= 'dlock!' then
        local found = holders(key, 'h')
        if found[4] and found[5] > 0 then
          reply[#reply + 1] = found
          reply[#reply + 1] = call('ZCARD', QUEUE .. key)
        end
      end
    end
    return reply
  end
  local found = holders(K)
  local kind = found[3]
  if kind == 'other' then return {-5, us} end
  for i = 4, #found, 2 do
    call('SET', 'dlock!broken:' .. found[i], '1', 'PX', ARGV[4])
  end
  if kind ~= 'none' then
    call('ZADD', FENCE, whole(math.max(tonumber(found[2]) or 0, us) + 1), K)
    call('DEL', K, DATA .. K)
  end
  return {1, us, (#found - 3) / 2}
end

-- What is at K: if it is a string, all in one command; else, if it is not there, whether nobody waits for it either.
local queue = QUEUE .. K
local releases = operation == 'R'
values = values or call('MGET', K, EPOCH)
local holder, same_epoch = values[1], values[2] == epoch
local kind, mine, fence
if holder then
  kind, mine = 'string', holder == token
elseif nobody_waits or call('EXISTS', K, queue) == 0 then
  kind, nobody_waits = 'none', true
else
  kind = settle(K)
  mine = kind == 'zset' and call('ZSCORE', K, token) ~= false
end

-- E of what is there, likewise.
if operation == 'E' and kind == 'string' and mine and same_epoch and ARGV[4] == 'X' and not ARGV[9] then
  call('PEXPIREAT', K, whole(ms + ARGV[5]))
  return {1, us, call('ZSCORE', FENCE, K) or '0'}
end

-- Joins the queue, or stays in it: the place there, from 1 on, and 0 without one. A queue lives on when its first one
-- asks, or now and then when another does. A memory that is full lets nobody join, and ends nothing.
local function enqueue(member, ticket)
  if member == '' then return 0 end
  local joined = try('ZADD', queue, 'NX', ticket, member)
  if type(joined) ~= 'number' then return 0 end
  local rank = call('ZRANK', queue, member) + 1
  if rank == 1 or us % 8 == 0 then call('PEXPIRE', queue, QUEUE_MS) end
  return rank
end

-- And A where somebody writes.
if operation == 'A' and kind == 'string' and not mine and same_epoch and tonumber(ARGV[6]) <= us + SKEW_US then
  local rank = enqueue(ARGV[8] or '', ARGV[9])
  return {0, us, call('ZSCORE', FENCE, K) or '0', call('PTTL', K), holder, rank, holder}
end

-- The version of my data that is here, 0 if none.
local function version_here()
  local there = call('HMGET', DATA .. K, 't', 'v')
  return there[1] == token and tonumber(there[2] or 0) or 0
end

-- Nothing travels any more: what this token had left goes.
local function unload() if version_here() > 0 then call('DEL', DATA .. K) end end

-- Takes away what is mine.
local function give_up()
  if kind == 'string' then
    call('DEL', K)
    kind, holder = 'none', nil
  else
    call('ZREM', K, token)
    kind = settle(K)
  end
end

-- R: release. ARGV: 4 tombstone, 5 the next fence, 6 offer ms (0: nobody is handed anything), 7 its place
-- in the queue, if it may have one, or '', and 8 '1' when data of this token may be here.
-- Deleting comes first: it must work when memory is full. The tombstone refuses a late
-- acquire of this attempt. Not bound to an epoch: whatever became of this server,
-- this token must go.
if releases then
  if mine then
    give_up()
    had = 1
  end
  if ARGV[8] then unload() end
  if ARGV[7] and ARGV[7] ~= '' then call('ZREM', queue, ARGV[7]) end
  local tomb = tonumber(ARGV[4])
  if tomb > 0 and try('ZADD', FENCE, 'XX', 'GT', 'CH', ARGV[4], K) == 1 then
    fence = tomb
  elseif tomb > 0 then
    fence = tonumber(call('ZSCORE', FENCE, K) or nil)
    -- Where no fence is known now - S counts, which a tombstone must not lower. And what a server in quarantine, or
    -- one that is not the one that was asked, has forgotten nobody knows: there now - S may come to be more.
    if not fence and (tomb <= us - SKEW_US or not same_epoch or values[3]) then tomb = 0 end
    if tomb > 0 and (not fence or tomb > fence) then
      local stored = try('ZADD', FENCE, ARGV[4], K)
      -- A full memory is no reason to ask again. A master that may not write now, and so kept nothing, may later.
      if type(stored) == 'table' and string.find(stored.err, 'READONLY', 1, true) then return stored end
      if type(stored) == 'number' then fence = tomb end
    end
  end
  if tonumber(ARGV[4]) > 0 and ARGV[4] % 64 == 0 then
    -- Fences a day below the highest are collected, a few at a time. By the fences, not by the clock: one
    -- that jumps ahead for a moment must not make this server forget.
    local highest = call('ZRANGE', FENCE, -1, -1, 'WITHSCORES')[2] or 0
    local old = call('ZRANGEBYSCORE', FENCE, '-inf', whole(math.max(0, highest - DAY_US)), 'LIMIT', 0, 128)
    if #old > 0 then call('ZREM', FENCE, unpack(old)) end
  end
  if nobody_waits or (not taken_out and call('EXISTS', queue) == 0) then return {1, us, had} end

-- For all others a vote is given or taken: only for a client that knows this
-- incarnation. Atomic with the vote, this is what catches a restart, an old
-- snapshot, a failover behind the address, a role flip and FLUSHALL.
elseif not same_epoch then
  return {-1, us}
end

if not fence then fence = tonumber(call('ZSCORE', FENCE, K) or nil) end

local function raise(to, text)
  if not fence or to > fence then
    call('ZADD', FENCE, text, K)
    fence = to
  end
end

-- The queue's next: {member, mode, ttl ms, channel, token, ticket}, or nil. What is no waiter goes, nor is one whose
-- token can't be told from another program's member of a set.
local function head()
  while true do
    local first = taken_out or call('ZRANGE', queue, 0, 0, 'WITHSCORES')
    taken_out = nil
    if not first[1] then return nil end
    local mode, ttl, channel, waiter = string.match(first[1], WAITER)
    if mode then return {first[1], mode, tonumber(ttl), channel, waiter, tonumber(first[2])} end
    call('ZREM', queue, first[1])
  end
end

-- Tells a waiter: whether anybody listens. A waiter to whom this server may not publish is no waiter.
local function tell(waiter, text)
  local heard = try('PUBLISH', waiter[4], text)
  return type(heard) == 'number' and heard > 0
end

-- Hands K, where it is free or only shared, to who waits first; to all that read, as long as those are first. Each
-- has it for the offer, or its own ttl if that is less, and prolongs it then. Who is not there any more is left
-- out, and so is who is younger than `before`, if that is given. `next` is what the fence becomes, if it is above
-- all before: the same on all servers. A server that is not the one that was asked, or that must not vote,
-- hands over nothing, unless the waiter takes its vote all the same.
local function hand_over(next, offer, before)
  if offer <= 0 or not same_epoch then return end
  local quarantined
  if not (next <= us + SKEW_US) then next = 0 end
  while kind == 'none' or kind == 'zset' do
    local waiter = head()
    if not waiter or (before and waiter[6] >= before) or (kind == 'zset' and waiter[2] == 'X') then return end
    if quarantined == nil then quarantined = values[3] or (not releases and call('EXISTS', QUARANTINE) == 1) end
    if quarantined and string.sub(waiter[4], 1, 17) ~= 'dlock!grants-off-' then return end
    local floor = fence or us - SKEW_US
    granted = granted or (next > floor and next or (waiter[2] == 'X' and floor + 1 or floor))
    local expiry = whole(ms + math.min(waiter[3], offer))
    call('ZREM', queue, waiter[1])
    raise(granted, whole(granted))
    if tell(waiter, table.concat({'G', whole(granted), whole(us), expiry, epoch, waiter[5]}, ' ')) then
      if waiter[2] == 'X' then
        call('SET', K, waiter[5], 'PXAT', expiry)
        kind, holder = 'string', waiter[5]
      else
        -- Never earlier: it may be there already, by a repair.
        call('ZADD', K, 'GT', expiry, waiter[5])
        kind = settle(K)
      end
    end
  end
end

if releases then
  hand_over(tonumber(ARGV[5]), tonumber(ARGV[6]))
  return {1, us, had}
end

-- The oldest of those that read; of many, of the first that end.
local function oldest_reader()
  local oldest
  for _, reader in ipairs(call('ZRANGE', K, 0, 63)) do
    if not oldest or reader < oldest then oldest = reader end
  end
  return oldest
end

-- Not taken: fence, milliseconds left, who has it ('zset': some that read), the place in the queue (0: none), and
-- the oldest that is in the way.
local function busy(rank, ahead)
  local who = kind == 'string' and holder or kind
  return {0, us, whole(fence or 0), call('PTTL', K), who, rank or 0,
          ahead or (kind == 'zset' and oldest_reader()) or who}
end

-- The waiter that goes before one with this ticket, if any does: older, and still there.
local function ahead_of(ticket, member)
  while true do
    local waiter = head()
    if not waiter or waiter[1] == member or waiter[6] >= ticket then return nil end
    if tell(waiter, '') then return waiter end
    call('ZREM', queue, waiter[1])
  end
end

-- Brings what travels with my lock to `version`, never back, and lets it live as long as the key: the version
-- that is here then. Without a version nothing travels, and nothing is asked. `call`: whether a refusal ends
-- the operation, or the lock goes on without (a memory that is full).
local function carry(call, version, bytes, expiry)
  if not version then return nil end
  local here = version_here()
  if bytes and tonumber(version) > here then
    local set = call('HSET', DATA .. K, 't', token, 'v', version, 'd', bytes, 'h', string.sub(bytes, 1, 128))
    if type(set) == 'number' then here = tonumber(version) end
  end
  if here > 0 then call('PEXPIREAT', DATA .. K, expiry) end
  return here
end

-- P: how does a waiter stand? ARGV: 4 mode, 5 its place in the queue or '', 6 ticket. Takes nothing and hands over
-- nothing. 6: it is mine, with the fence and its end by this clock. 5: an A would be answered by something else
-- than "held": taken, or handed to who is older.
if operation == 'P' then
  if mine and (kind == 'string') == (ARGV[4] == 'X') then
    local ends = kind == 'string' and ms + call('PTTL', K) or call('ZSCORE', K, token)
    return {6, us, whole(fence or 0), tonumber(ends)}
  end
  local rank = enqueue(ARGV[5], ARGV[6])
  if kind == 'none' then return {5, us, whole(fence or 0)} end
  if ARGV[4] == 'S' and kind == 'zset' then
    local waiter = ahead_of(tonumber(ARGV[6]), ARGV[5])
    if not waiter or waiter[2] == 'S' then return {5, us, whole(fence or 0)} end
    return busy(rank, waiter[5])
  end
  return busy(rank)
end

-- Y: yield what was taken or handed over, and stay in the queue. ARGV: 4 place in the queue or '', 5 ticket, 6 next
-- fence, 7 offer ms; 0: nobody is handed anything, since another has a majority and comes for it. Else it is handed
-- to who is older.
if operation == 'Y' then
  if mine then
    give_up()
    unload()
  end
  local rank = enqueue(ARGV[4], ARGV[5])
  hand_over(tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[5]))
  return {1, us, whole(fence or 0), rank}
end

-- A: acquire; may be repeated. ARGV: 4 mode, 5 ttl ms, 6 proposal; then, unless all are as they mostly are, 7 floor
-- (0; shared: raise the fence to at least this), 8 place in the queue for who would wait (''), 9 ticket (that with
-- which the token begins), 10 offer ms (1000), 11 version and 12 bytes of what travels with it, if anything does. Who
-- waits longer goes first. 1: taken; 7: taken, and it was mine already, in whichever mode.
if operation == 'A' then
  local mode, expiry = ARGV[4], whole(ms + ARGV[5])
  local proposal, place = tonumber(ARGV[6]), ARGV[8] or ''
  local ticket = tonumber(ARGV[9]) or tonumber(string.match(token, '^%x+'), 16)
  if proposal > us + SKEW_US then return {-2, us, whole(fence or 0)} end
  local ahead
  if not mine and not nobody_waits and (kind == 'none' or (mode == 'S' and kind == 'zset')) then
    local waiting = head()
    if waiting and waiting[1] ~= place and waiting[6] < ticket then
      hand_over(proposal, tonumber(ARGV[10] or 1000), ticket)
      -- A writer that waits behind readers keeps later readers off.
      if kind == 'zset' and mode == 'S' then ahead = ahead_of(ticket, place) end
    end
  end
  local function leave() if place ~= '' and not nobody_waits then call('ZREM', queue, place) end end
  local function occupied() return busy(enqueue(place, ARGV[9]), ahead and ahead[5]) end
  if mode == 'X' then
    local alone = kind == 'zset' and mine and call('ZCARD', K) == 1
    if not (kind == 'none' or alone or (kind == 'string' and mine)) then return occupied() end
    -- An absent fence counts as the oldest that a client may still propose.
    local floor = fence or us - SKEW_US
    local again = kind == 'string' and mine and proposal == floor
    if proposal <= floor and not again then
      return {mine and 2 or -3, us, whole(floor)}
    end
    raise(proposal, ARGV[6]) -- before the key: a fence without a key harms nobody
    call('SET', K, token, 'PXAT', expiry)
    leave()
    return {mine and 7 or 1, us, ARGV[6], carry(redis.call, ARGV[11], ARGV[12], expiry)}
  end
  if ahead or not (kind == 'none' or kind == 'zset') then return occupied() end
  if not fence and proposal <= us - SKEW_US then return {-3, us, whole(us - SKEW_US)} end
  local floor = math.max(tonumber(ARGV[7] or 0), fence or proposal)
  raise(floor, whole(floor))
  call('ZADD', K, expiry, token)
  outlast(K)
  leave()
  return {mine and 7 or 1, us, whole(floor)}
end

-- Leaves the queue where the place is not told: who had to wait for this key, has the lock by the others, and sets it
-- here now. A token begins with its ticket.
local function leave_by_ticket()
  local ticket = tonumber(string.match(token, '^%x+') or '', 16)
  if not ticket then return end
  for _, member in ipairs(call('ZRANGEBYSCORE', queue, ticket, ticket)) do
    if string.sub(member, -#token - 1) == ':' .. token then call('ZREM', queue, member) end
  end
end

-- E: extend. ARGV: 4 mode, 5 ttl ms, 6 repair ('1', '0', or 'g': only where no
-- later attempt has left its fence), 7 fence of the lock, 8 offer ms, 9 version of
-- what travels with it (shared: data of this token may be here), 10 its bytes. 1: it was mine all
-- the time. 3: it was gone (or only shared), and is set again. 4: it would be, but
-- only together with the bytes: a key never stands without what travels with it. An
-- exclusive key that is to be shared is converted, nothing travels with it, and who
-- waits to read comes in.
if operation == 'E' then
  local expiry = whole(ms + ARGV[5])
  local own = tonumber(ARGV[7])
  local vacant = kind == 'none' or (ARGV[4] == 'S' and kind == 'zset' and not mine)
  local alone = ARGV[4] == 'X' and kind == 'zset' and mine and call('ZCARD', K) == 1
  local repair = (vacant or alone)
    and (ARGV[6] == '1' or (ARGV[6] == 'g' and (fence or us - SKEW_US) <= own))
    and call('EXISTS', 'dlock!broken:' .. token) == 0
  if not repair and (not mine or (ARGV[4] == 'X' and kind ~= 'string')) then return busy() end
  if repair and ARGV[4] == 'X' and ARGV[9] and not ARGV[10] and version_here() < tonumber(ARGV[9]) then
    return {4, us, whole(fence or 0)}
  end
  -- An absent fence counts as now - S, and must not become less.
  if repair and (fence or own > us - SKEW_US) then raise(own, ARGV[7]) end
  local here
  if ARGV[4] == 'X' then
    if repair then call('SET', K, token, 'PXAT', expiry) end
    -- Before the key, if that stays: a full memory refuses the bytes alone, unless something was written already.
    here = carry(redis.pcall, ARGV[9], ARGV[10], expiry)
    if not repair then call('PEXPIREAT', K, expiry) end
  else
    local converted = kind == 'string'
    if converted then call('DEL', K) end
    if ARGV[9] then unload() end
    call('ZADD', K, expiry, token)
    outlast(K)
    kind = 'zset'
    if converted then hand_over(0, tonumber(ARGV[8])) end
  end
  if repair and not nobody_waits then leave_by_ticket() end
  return {repair and 3 or 1, us, whole(fence or 0), here}
end

return redis.error_reply('ERR dlock: unknown operation')
