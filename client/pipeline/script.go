package pipeline

import (
	"github.com/redis/go-redis/v9"

	"outboxd/client/redisreply"
)

// takeScript takes several tasks from a queue. The script does for each task what
// Asynq's own script does for one, but first checks the task's type.
//
// If the task at the head is of an unknown type, the script searches a window of
// tasks behind the head, so that one task without a worker does not block the
// queue. If the ID at the head has no task any more, the script removes the ID. Taking
// it would leave a task without a message, which would stay active for ever. After a
// hundred removed IDs the script stops, and its reply says so.
//
// If the answer to an earlier request was lost, the script returns the tasks of
// that answer again, because no worker runs them. The script finds these tasks by
// the receipt of that request among the latest active tasks. A task gets the
// receipt before it is moved, so that it is found even if Redis stopped in the
// middle of the script.
//
// If Redis has reached its maxmemory, it refuses a script's first write if that may need memory, and no later write. So
// the script first removes the field pending_since: otherwise no worker could take tasks from a full Redis, and Redis
// would stay full.
//
// If the key of a task is no hash, or if the task's message is empty, the script treats the task as absent. An empty
// message names no task, so nothing could run it or end it.
//
// KEYS: pending, paused, active, lease
// ARGV: 1 end of the lease, 2 prefix of task keys, 3 the ID of a task whose type is
// known to be right, or "", 4 the position of the window, 5 its length, 6 after how
// many bytes of messages to stop, 7 the receipt of this request, 8 the receipts of
// unanswered requests, 9 how many tasks to take at most (0: only one task of an
// unanswered request), from 10 on the first bytes of messages of the known types
//
// Returns the receipt; the ID of the head if its type is unknown, else ""; the
// message of the head if its type is unknown and nothing was taken, else ""; the
// number of tasks in the window, or -1 if the script stopped because it removed many
// IDs; then the ID and the message of each task that was
// taken.
var takeScript = redis.NewScript(`
local most, bytes = tonumber(ARGV[9]), tonumber(ARGV[6])
local reply = {ARGV[7], "", "", 0}
local function give(id, msg)
	reply[#reply + 1] = id
	reply[#reply + 1] = msg
	bytes = bytes - #msg
	return (#reply - 4) / 2 >= most or bytes <= 0
end
local function isOther(reply) return type(reply) == "table" and reply.err and string.find(reply.err, "WRONGTYPE", 1, true) end
local function message(id)
	local msg = redis.pcall("HGET", ARGV[2] .. id, "msg")
	if isOther(msg) then return false end
	if type(msg) == "table" then msg = redis.call("HGET", ARGV[2] .. id, "msg") end
	return msg ~= "" and msg
end
local function free(id) redis.call("HDEL", ARGV[2] .. id, "pending_since") end
if ARGV[8] ~= "" then
	local latest = redis.call("LRANGE", KEYS[3], 0, 999)
	for i = #latest, 1, -1 do
		local id = latest[i]
		local key = ARGV[2] .. id
		local found = redis.pcall("HMGET", key, "outboxd_take", "msg")
		if isOther(found) then found = {} end
		if found.err then found = redis.call("HMGET", key, "outboxd_take", "msg") end
		local receipt, msg = unpack(found)
		if receipt and msg and msg ~= "" and string.find(ARGV[8], receipt, 1, true) then
			free(id)
			redis.call("HSET", key, "outboxd_take", ARGV[7])
			redis.call("ZADD", KEYS[4], ARGV[1], id)
			if give(id, msg) then return reply end
		end
	end
	if #reply > 4 then return reply end
end
if most == 0 then return reply end
if redis.call("EXISTS", KEYS[2]) == 1 then return reply end
local function known(id, msg)
	if id == ARGV[3] then return true end
	for i = 10, #ARGV do
		if string.sub(msg, 1, #ARGV[i]) == ARGV[i] then return true end
	end
	return false
end
local function bear(id)
	free(id)
	redis.call("HSET", ARGV[2] .. id, "state", "active", "outboxd_take", ARGV[7])
end
local function lease(id) redis.call("ZADD", KEYS[4], ARGV[1], id) end
local ids = redis.call("LRANGE", KEYS[1], -most, -1)
local gone = 0
while #ids > 0 do
	for i = #ids, 1, -1 do
		local id = ids[i]
		local msg = message(id)
		if not msg then
			redis.call("RPOP", KEYS[1])
			gone = gone + 1
		elseif known(id, msg) then
			bear(id)
			redis.call("RPOPLPUSH", KEYS[1], KEYS[3])
			lease(id)
			if give(id, msg) then return reply end
		else
			reply[2] = id
			if #reply == 4 then reply[3] = msg end
			break
		end
	end
	if #reply > 4 or reply[2] ~= "" then break end
	if gone >= 100 then
		reply[4] = -1
		return reply
	end
	ids = redis.call("LRANGE", KEYS[1], -most, -1)
end
if #reply > 4 or reply[2] == "" then return reply end
local from = tonumber(ARGV[4])
ids = redis.call("LRANGE", KEYS[1], -(from + ARGV[5] - 1), -from)
reply[4] = #ids
for i = #ids, 1, -1 do
	local msg = message(ids[i])
	if msg and known(ids[i], msg) then
		bear(ids[i])
		redis.call("LREM", KEYS[1], -1, ids[i])
		redis.call("LPUSH", KEYS[3], ids[i])
		lease(ids[i])
		reply[3] = ""
		if give(ids[i], msg) then return reply end
	elseif msg then
		bytes = bytes - #msg
		if bytes <= 0 then
			reply[4] = #ids - i + 1
			return reply
		end
	end
end
return reply`)

// If the head is of an unknown type, a request searches windowTasks tasks behind
// it. A request stops reading messages after takeBytes, but reads the last message
// in full.
const (
	windowTasks = 50
	takeBytes   = 1 << 20
)

// takeReply is the reply of takeScript.
type takeReply struct {
	head    string // of an unknown type, or ""
	message string // the head's, if nothing was taken
	window  int64
	stopped bool // before all pending tasks were seen, because the script removed many IDs
	tasks   []ahead
}

// bytes is the total length of the messages of the tasks in a reply.
func (r takeReply) bytes() (n int) {
	for _, t := range r.tasks {
		n += len(t.message)
	}
	return n
}

// readTake parses the reply of takeScript. A reply without this request's receipt,
// or of another form, is an error.
func readTake(command *redis.Cmd, receipt string) (takeReply, error) {
	reply, err := command.Slice()
	if err != nil {
		return takeReply{}, err
	}
	strange := redisreply.Unexpected{To: "the script that takes tasks", Reply: reply}
	if len(reply) < 4 || len(reply)%2 != 0 || reply[0] != receipt {
		return takeReply{}, strange
	}
	window, isNumber := reply[3].(int64)
	if !isNumber {
		return takeReply{}, strange
	}
	texts := make([]string, 0, len(reply)-2)
	for _, value := range append(reply[1:3:3], reply[4:]...) {
		text, isText := value.(string)
		if !isText {
			return takeReply{}, strange
		}
		texts = append(texts, text)
	}
	r := takeReply{head: texts[0], message: texts[1], window: max(window, 0), stopped: window < 0}
	for i := 2; i < len(texts); i += 2 {
		if texts[i] == "" || texts[i+1] == "" {
			return takeReply{}, strange
		}
		r.tasks = append(r.tasks, ahead{task: task{id: texts[i]}, message: texts[i+1]})
	}
	return r, nil
}

// giveBackScript moves a task that was not handed out back to the head of its
// queue, as Asynq's own script does. giveBackScript first checks the receipt, and
// removes it. Otherwise a repeat after a lost answer would find the receipt on a task
// that a plain Asynq worker has taken since, and would take it away from that worker.
//
// KEYS: active, lease, pending, the task
// ARGV: the task's ID, the receipt of the request that took it
var giveBackScript = redis.NewScript(`
if redis.call("HGET", KEYS[4], "outboxd_take") ~= ARGV[2] then return redis.error_reply("NOT FOUND") end
if redis.call("LREM", KEYS[1], 0, ARGV[1]) == 0 then return redis.error_reply("NOT FOUND") end
if redis.call("ZREM", KEYS[2], ARGV[1]) == 0 then return redis.error_reply("NOT FOUND") end
redis.call("RPUSH", KEYS[3], ARGV[1])
redis.call("HSET", KEYS[4], "state", "pending")
redis.call("HDEL", KEYS[4], "outboxd_take")
return redis.status_reply("OK")`)

// errNotFound is the error of giveBackScript for a task that does not belong to this worker any more.
const errNotFound = "NOT FOUND"

// extendScript extends leases as ZADD with XX does, but also if Redis has reached its maxmemory: a script may use memory
// after its first write.
//
// KEYS: lease
// ARGV: the score and the ID of each task
//
// Returns how many leases were extended.
var extendScript = redis.NewScript(`
local extended = 0
for i = 2, #ARGV, 2 do
	if redis.call("ZREM", KEYS[1], ARGV[i]) == 1 then
		redis.call("ZADD", KEYS[1], ARGV[i - 1], ARGV[i])
		extended = extended + 1
	end
end
return extended`)

// forwardScript moves due tasks to the pending list as Asynq's own script does, but also if Redis has reached its
// maxmemory. The first write removes a field that a scheduled or retried task does not have.
//
// KEYS: scheduled or retry, pending
// ARGV: 1 now in seconds, 2 prefix of task keys, 3 now in nanoseconds, 4 prefix of group keys
//
// Returns how many tasks were moved. Asynq calls the script again until there are none.
var forwardScript = redis.NewScript(`
local ids = redis.call("ZRANGEBYSCORE", KEYS[1], "-inf", ARGV[1], "LIMIT", 0, 100)
for _, id in ipairs(ids) do
	local key = ARGV[2] .. id
	local group = redis.call("HGET", key, "group")
	redis.call("HDEL", key, "pending_since")
	if group and group ~= "" then
		redis.call("ZADD", ARGV[4] .. group, ARGV[1], id)
		redis.call("ZREM", KEYS[1], id)
		redis.call("HSET", key, "state", "aggregating")
	else
		redis.call("LPUSH", KEYS[2], id)
		redis.call("ZREM", KEYS[1], id)
		redis.call("HSET", key, "state", "pending", "pending_since", ARGV[3])
	end
end
return #ids`)
