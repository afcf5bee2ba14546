package lookup

import "github.com/redis/go-redis/v9"

// nearEnd is how much of the end of a queue, from where workers take, the
// script reads in full.
const nearEnd = "1000"

// lookScript looks for tasks of one queue in the list or set that their state
// names. Asynq takes a task for there when its hash is; a worker finds it only
// there. What is stranded, and where asked what is completed, it clears away in
// the same step, so that no worker can come in between.
//
// A list cannot be asked whether it has an element without reading it. But tasks
// come into the queue at one end and leave it at the other, and the hash says
// since when a task waits: one that waits since later than the last ones of the
// list has not been taken yet. Only one that should have been is looked for
// among the last, and if the list is longer than that, the answer is unsure:
// whoever asks reads the list, and asks again with what was found.
//
// A task is lost without a message, too: a worker that meets the ID of an
// evicted task in the list makes the hash again with nothing but a state.
//
// KEYS: the queue's pending, active, lease. ARGV: the prefix of the queue's
// keys, then three for each task: its ID; what to do; and "" or, where the list
// did not have the task and no running worker does, "absent" and since when it waited then.
//
//	""      only look
//	clear   clear away what is stranded
//	redo    clear away what is stranded or completed
//
// It returns for each task a digit of lookAnswer and, where that is unsure,
// since when it waits.
var lookScript = redis.NewScript(`
local queue, tasks = ARGV[1], ARGV[1] .. "t:"
local empty, oldest, near, active

local function members(list)
	local set = {}
	for _, id in ipairs(list) do set[id] = true end
	return set
end

local function last()
	if empty == nil then
		local ids = redis.call("LRANGE", KEYS[1], -16, -1)
		empty = #ids == 0
		for _, id in ipairs(ids) do
			local since = tonumber(redis.call("HGET", tasks .. id, "pending_since") or "")
			if since and (not oldest or since < oldest) then oldest = since end
		end
	end
end

local function pending(id, since)
	last()
	if empty then return "no" end
	if oldest and since and tonumber(since) >= oldest then return "yes" end
	if not near then near = redis.call("LRANGE", KEYS[1], -` + nearEnd + `, -1); near.set = members(near) end
	if near.set[id] then return "yes" end
	if #near < ` + nearEnd + ` then return "no" end
	return "unsure"
end

local function leased(id)
	if not redis.call("ZSCORE", KEYS[3], id) then return false end
	if not active then active = members(redis.call("LRANGE", KEYS[2], 0, -1)) end
	return active[id]
end

local function grouped(id, group)
	if redis.call("ZSCORE", queue .. "g:" .. (group or ""), id) then return true end
	for _, set in ipairs(redis.call("ZRANGE", queue .. "aggregation_sets", 0, -1)) do
		if redis.call("ZSCORE", set, id) then return true end
	end
	return false
end

local sets = { scheduled = "2", retry = "2", completed = "3", archived = "4" }

local function look(id, absent)
	local key = tasks .. id
	local state, since, group = unpack(redis.call("HMGET", key, "state", "pending_since", "group"))
	if not state then
		if redis.call("EXISTS", key) == 0 then return "0" end
		return "1", "none"
	end
	if redis.call("HEXISTS", key, "msg") == 0 then return "1", state end
	if state == "pending" then
		local waits = pending(id, since)
		if waits == "unsure" and absent == "absent" .. (since or "") then waits = "no" end
		if waits == "unsure" then return "5" .. (since or ""), state end
		return waits == "yes" and "2" or "1", state
	elseif state == "active" then
		if leased(id) then return "2", state end
		return absent ~= "" and "1" or "6", state
	elseif state == "aggregating" then
		return grouped(id, group) and "2" or "1", state
	elseif sets[state] then
		return redis.call("ZSCORE", queue .. state, id) and sets[state] or "1", state
	end
	return "2", state
end

local function clear(id, state)
	local key = tasks .. id
	redis.call("LREM", KEYS[2], 0, id)
	redis.call("ZREM", KEYS[3], id)
	if sets[state] then redis.call("ZREM", queue .. state, id) end
	local lock = redis.call("HGET", key, "unique_key")
	if lock and lock ~= "" and redis.call("GET", lock) == id then redis.call("DEL", lock) end
	redis.call("DEL", key)
end

local answers = {}
for i = 2, #ARGV, 3 do
	local id, todo = ARGV[i], ARGV[i + 1]
	local answer, state = look(id, ARGV[i + 2])
	if answer == "1" and todo ~= "" or answer == "3" and todo == "redo" then clear(id, state) end
	answers[#answers + 1] = answer
end
return answers
`)
