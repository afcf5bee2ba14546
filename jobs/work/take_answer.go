package work

import (
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"outboxd/jobs/broker"
)

// takeAnswer is the answer of takeScript.
type takeAnswer struct {
	message string // the message of the task that was taken, or of a head of an unknown type; "": neither
	unknown bool   // nothing was taken, and the head has an unknown type
	behind  bool   // the head has an unknown type, whether or not a task behind it was taken
	head    string
	window  int64
}

// readTake reads the script's answers. Any other answer is an error.
func readTake(command *redis.Cmd) (takeAnswer, error) {
	reply, err := command.Slice()
	if err != nil {
		return takeAnswer{}, err
	}
	strange := broker.UnexpectedReply{To: "the script that takes a task", Reply: reply}
	texts := make([]string, min(len(reply), 3))
	for i := range texts {
		var isText bool
		if texts[i], isText = reply[i].(string); !isText {
			return takeAnswer{}, strange
		}
	}
	switch len(reply) {
	case 0:
		return takeAnswer{}, nil
	case 1, 2:
		if texts[0] == "" {
			return takeAnswer{}, strange
		}
		return takeAnswer{message: texts[0], behind: len(reply) == 2}, nil
	case 4:
		window, isNumber := reply[3].(int64)
		if texts[0] != "" || !isNumber {
			return takeAnswer{}, strange
		}
		return takeAnswer{message: texts[2], unknown: true, behind: true, head: texts[1], window: window}, nil
	default:
		return takeAnswer{}, strange
	}
}

// The receipts of questions without an answer are kept as long as Redis may
// still execute such a question, or cannot be reached, within these bounds.
const (
	lostFor  = time.Minute
	lostMost = 16
)

// lost has the receipts of one queue's questions without an answer.
type lost struct {
	receipts []string
	last     time.Time // when the last one was added
}

func (l *lost) lose(receipt string) {
	if l.receipts = append(l.receipts, receipt); len(l.receipts) > lostMost {
		l.receipts = l.receipts[1:]
	}
	l.last = time.Now()
}

// unanswered returns the receipts as one text; "" if there are none.
func (l *lost) unanswered() string {
	if len(l.receipts) > 0 && time.Since(l.last) > lostFor {
		l.receipts = nil
	}
	return strings.Join(l.receipts, " ")
}
