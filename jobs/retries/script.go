package retries

import (
	"strconv"

	"github.com/redis/go-redis/v9"

	"outboxd/domain/queued"
)

// readScript returns data about the failing tasks of a queue. The script reads the tasks'
// messages inside Redis, because their payloads may have a mebibyte each and are not
// needed here. A message is in the protocol buffer format: TaskMessage of asynq.proto.
//
// KEYS: the queue's retry set. ARGV: the prefix of the keys of tasks, and then either
// "rank" with the first and the last rank, or "ids" with the IDs of tasks. For each task
// that is failing, the script returns its ID, when it is due, its type, how often it may
// be retried, how often it was retried, its last error, and when it failed.
var readScript = redis.NewScript(`
local function varint(s, i)
	local n, factor = 0, 1
	while true do
		local byte = string.byte(s, i)
		if not byte then return nil, i end
		n, factor, i = n + (byte % 128) * factor, factor * 128, i + 1
		if byte < 128 then return n, i end
	end
end

local function fields(message)
	local found, i = {}, 1
	while i <= #message do
		local tag
		tag, i = varint(message, i)
		if not tag then break end
		local field, wire = math.floor(tag / 8), tag % 8
		if wire == 0 then
			found[field], i = varint(message, i)
		elseif wire == 2 then
			local size
			size, i = varint(message, i)
			if not size then break end
			if field ~= 2 then found[field] = string.sub(message, i, i + size - 1) end
			i = i + size
		elseif wire == 1 then i = i + 8
		elseif wire == 5 then i = i + 4
		else break end
	end
	return found
end

local ids = {}
if ARGV[2] == "rank" then
	ids = redis.call("ZRANGE", KEYS[1], ARGV[3], ARGV[4])
else
	for i = 3, #ARGV do ids[#ids + 1] = ARGV[i] end
end
local answers = {}
for _, id in ipairs(ids) do
	local due = redis.call("ZSCORE", KEYS[1], id)
	local message = due and redis.call("HGET", ARGV[1] .. id, "msg")
	if message then
		local f = fields(message)
		answers[#answers + 1] = { id, due, f[1] or "", string.format("%.0f", f[5] or 0), string.format("%.0f", f[6] or 0),
			string.sub(f[7] or "", 1, ` + strconv.Itoa(queued.FailingErrorBytes) + `), string.format("%.0f", f[11] or 0) }
	end
end
return answers
`)

// retryScript makes failing tasks of a queue due now. The tasks go to the end of the queue, so
// workers take them after the tasks that wait there already.
//
// KEYS: the queue's retry set and pending list. ARGV: the prefix of the keys of tasks, the time in
// Unix nanoseconds, and the IDs of the tasks.
var retryScript = takeOut(`
		redis.call("LPUSH", KEYS[2], ARGV[i])
		redis.call("HSET", key, "state", "pending", "pending_since", ARGV[2])`)

// archiveScript archives failing tasks of a queue. Unlike Asynq's script, it deletes no
// old tasks from the archive.
//
// KEYS: the queue's retry set and archive. ARGV: the prefix of the keys of tasks, the
// time in Unix seconds, and the IDs of the tasks.
var archiveScript = takeOut(`
		redis.call("ZADD", KEYS[2], ARGV[2], ARGV[i])
		redis.call("HSET", key, "state", "archived")`)

// takeOut returns a script that takes tasks out of the retry set KEYS[1] and puts each
// where the lines of Lua in put say. The script returns the IDs of those tasks that
// were failing.
func takeOut(put string) *redis.Script {
	return redis.NewScript(`
local done = {}
for i = 3, #ARGV do
	local key = ARGV[1] .. ARGV[i]
	if redis.call("HGET", key, "state") == "retry" and redis.call("ZREM", KEYS[1], ARGV[i]) == 1 then` + put + `
		done[#done + 1] = ARGV[i]
	end
end
return done
`)
}
