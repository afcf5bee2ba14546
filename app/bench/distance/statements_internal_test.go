package distance

import (
	"maps"
	"testing"
	"testing/synctest"

	"github.com/jackc/pgx/v5/pgproto3"
)

type encoder interface {
	Encode(dst []byte) ([]byte, error)
}

func encode(t *testing.T, messages ...encoder) []byte {
	t.Helper()
	var text []byte
	for _, m := range messages {
		var err error
		if text, err = m.Encode(text); err != nil {
			t.Fatal(err)
		}
	}
	return text
}

func TestStatements(t *testing.T) {
	t.Parallel()
	requested := encode(t,
		&pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": "ada"}},
		&pgproto3.PasswordMessage{Password: "secret"},
		&pgproto3.Query{String: "begin"},
		&pgproto3.Parse{Name: "s1", Query: "SELECT  1\n FROM x"}, &pgproto3.Describe{ObjectType: 'S', Name: "s1"}, &pgproto3.Sync{},
		&pgproto3.Bind{PreparedStatement: "s1"}, &pgproto3.Execute{}, &pgproto3.Sync{},
		&pgproto3.Bind{PreparedStatement: "s1"}, &pgproto3.Execute{}, &pgproto3.Sync{},
		&pgproto3.Query{String: "commit"},
	)
	replied := encode(t,
		&pgproto3.AuthenticationOk{}, &pgproto3.ReadyForQuery{TxStatus: 'I'},
		&pgproto3.CommandComplete{CommandTag: []byte("BEGIN")}, &pgproto3.ReadyForQuery{TxStatus: 'T'},
		&pgproto3.ReadyForQuery{TxStatus: 'T'}, &pgproto3.ReadyForQuery{TxStatus: 'E'},
		&pgproto3.CommandComplete{CommandTag: []byte("ROLLBACK")}, &pgproto3.ReadyForQuery{TxStatus: 'I'},
	)
	want := map[string]int{"begin": 1, "SELECT 1 FROM x": 2, "commit": 1}
	for _, size := range []int{1, 7, 1 << 20} {
		synctest.Test(t, func(t *testing.T) {
			s := NewStatements()
			requests, replies := s.Observe()
			for _, stream := range []struct {
				text []byte
				to   interface {
					Write(p []byte) (int, error)
					Close() error
				}
			}{{requested, requests}, {replied, replies}} {
				for from := 0; from < len(stream.text); from += size {
					if _, err := stream.to.Write(stream.text[from:min(from+size, len(stream.text))]); err != nil {
						t.Error(err)
					}
				}
				_ = stream.to.Close()
			}
			synctest.Wait()
			if transactions, executed := s.Snapshot(); transactions != 2 || !maps.Equal(executed, want) {
				t.Errorf("in pieces of %d bytes: %d transactions of %v, want 2 of %v", size, transactions, executed, want)
			}
		})
	}
}

// Every sequence of bytes is read without a failure.
func FuzzReadAlong(f *testing.F) {
	f.Add(true, []byte("\x00\x00\x00\x08\x00\x03\x00\x00Q\x00\x00\x00\x09test\x00"))
	f.Add(false, []byte("Z\x00\x00\x00\x05I"))
	f.Add(false, []byte("Z\xff\xff\xff\xffI"))
	f.Fuzz(func(t *testing.T, client bool, text []byte) {
		s := NewStatements()
		requests, replies := s.Observe()
		defer requests.Close()
		defer replies.Close()
		to := replies
		if client {
			to = requests
		}
		for range 2 {
			if n, err := to.Write(text); n != len(text) || err != nil {
				t.Errorf("%d of %d bytes taken, %v", n, len(text), err)
			}
		}
	})
}
