package lookup

import "github.com/redis/go-redis/v9"

// nearEnd is the number of IDs that the script reads at the end of a queue from which
// workers take tasks.
const nearEnd = "1000"

// lookScript looks for tasks of one queue, in the list or sorted set that belongs to the
// task's state. For Asynq a task exists if its hash exists, but a worker finds the task
// only in the list or set. If asked, the script removes a stranded or completed task in
// the same step in which it finds it, so that no worker can come in between.
//
// Redis must read a whole list to say whether an element is in it. But tasks are added at one end
// of the list and taken from the other, and the task's hash says when the task began to wait. So if
// any of the 16 tasks that are taken next began to wait no later than this one, this one is still
// in the list. Otherwise the script searches for the task among the nearEnd IDs that are taken
// next. If the list is longer and does not have the task there, the script is unsure. In that case
// the caller reads the whole list, and calls the script again with the result.
//
// A key that is no hash has no task, so the task is lost.
//
// A hash without a message also means that the task is lost: Redis has evicted the task,
// and a worker that took its ID from the list made a new hash with only a state.
//
// KEYS: the queue's pending list, active list and lease set. ARGV: the prefix of the
// queue's keys, and then three values for each task. The three values are the task's ID,
// what to do with it, and either "" or "absent" followed by the time at which the task
// began to wait. "absent" says that an earlier search did not find the task: a pending
// task in the whole list, or an active task with any worker.
//
//	""      only look
//	clear   remove a stranded task
//	redo    remove a stranded or completed task
//
// The script returns a digit for each task (lookAnswer). If the digit means unsure, the
// time at which the task began to wait follows.
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
			local said = redis.pcall("HGET", tasks .. id, "pending_since")
			local since = type(said) == "string" and tonumber(said)
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
	local found = redis.pcall("HMGET", key, "state", "pending_since", "group")
	if found.err and string.find(found.err, "WRONGTYPE", 1, true) then return "1", "none" end
	if found.err then found = redis.call("HMGET", key, "state", "pending_since", "group") end
	local state, since, group = unpack(found)
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
	local lock = redis.pcall("HGET", key, "unique_key")
	if type(lock) == "string" and lock ~= "" and redis.call("GET", lock) == id then redis.call("DEL", lock) end
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
