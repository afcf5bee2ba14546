package distance

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"maps"
	"strings"
	"sync"

	"outboxd/domain/words"
)

// Statements counts the statements of PostgreSQL's clients, by reading their
// connections. It is safe for concurrent use.
type Statements struct {
	mu           sync.Mutex
	executed     map[string]int // by text
	transactions int
}

// NewStatements returns an empty count.
func NewStatements() *Statements { return &Statements{executed: map[string]int{}} }

// Observe returns two writers for one connection: give them copies of the bytes of
// each direction.
func (s *Statements) Observe() (requests, replies io.WriteCloser) {
	prepared := map[string]string{}
	return readAlong(true, func(kind byte, body []byte) { s.request(prepared, kind, body) }), readAlong(false, s.reply)
}

// The kinds of messages that matter here: see "Message Formats" in PostgreSQL's manual.
const (
	messageQuery = 'Q' // text
	messageParse = 'P' // name, text
	messageBind  = 'B' // portal, name
	messageReady = 'Z' // state; I means: outside a transaction
)

func (s *Statements) request(prepared map[string]string, kind byte, body []byte) {
	first, rest := cutText(body)
	second, _ := cutText(rest)
	switch kind {
	case messageQuery:
		s.count(first)
	case messageParse:
		prepared[first] = second
	case messageBind:
		s.count(prepared[second])
	}
}

func (s *Statements) count(sql string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.executed[label(sql)]++
}

func (s *Statements) reply(kind byte, body []byte) {
	if kind == messageReady && bytes.Equal(body, []byte("I")) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.transactions++
	}
}

// Snapshot returns the counts so far.
func (s *Statements) Snapshot() (transactions int, executed map[string]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.transactions, maps.Clone(s.executed)
}

// label shortens an SQL statement to its beginning, on one line.
func label(sql string) string {
	const enough = 70
	return words.Cut(strings.Join(strings.Fields(sql), " "), enough)
}

func cutText(body []byte) (text string, rest []byte) {
	before, after, _ := bytes.Cut(body, []byte{0})
	return string(before), after
}

// readAlong returns a writer that cuts a stream into messages and calls the given
// function for every message. The first message of a client has no byte that says its
// kind. If the stream cannot be parsed, the writer discards the rest, so that the
// connection goes on.
func readAlong(client bool, each func(kind byte, body []byte)) io.WriteCloser {
	r, w := io.Pipe()
	go func() {
		in := bufio.NewReader(r)
		if client {
			_, _, _ = readMessage(in, false) // protocol and user
		}
		for {
			kind, body, err := readMessage(in, true)
			if err != nil {
				break
			}
			each(kind, body)
		}
		_, _ = io.Copy(io.Discard, in)
	}()
	return w
}

// longestMessage is far longer than any message of an idle process.
const longestMessage = 1 << 26

func readMessage(in io.Reader, hasKind bool) (kind byte, body []byte, err error) {
	var head [5]byte
	from := head[:]
	if !hasKind {
		from = head[1:]
	}
	if _, err := io.ReadFull(in, from); err != nil {
		return 0, nil, err
	}
	length := binary.BigEndian.Uint32(head[1:])
	if length < 4 || length > longestMessage {
		return 0, nil, io.ErrUnexpectedEOF
	}
	body = make([]byte, length-4)
	_, err = io.ReadFull(in, body)
	return head[0], body, err
}
