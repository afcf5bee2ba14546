package relay_test

import (
	"errors"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"outboxd/app/servertest/postgrestest"
)

// The disk that outboxd's tables lie on is full: PostgreSQL answers, reads, and
// fails to write.
func TestTheDiskIsFull(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	admin := newSession(t, server.URL())
	fill, free := admin.fullDevice, admin.freeDevice
	if path, mounted := server.SmallDisk(4 << 20); mounted {
		admin.exec("CREATE TABLESPACE small LOCATION '" + path + "'")
		admin.exec("ALTER DATABASE outboxd SET default_tablespace = small")
		fill, free = admin.fillDisk, admin.freeDisk
	} else {
		t.Log("no disk is filled: instead each claim writes to /dev/full")
	}
	migrated(t, server.URL())
	x := newTrouble(t, server.URL(), nil)
	x.exec(emitMany, 150)
	fill()
	x.start()
	x.reported()
	if fault, ok := errors.AsType[*pgconn.PgError](x.relay.DatabaseUsable()); !ok || fault.Code != "53100" {
		t.Errorf("the outage is %v, want that of a full disk", x.relay.DatabaseUsable())
	}
	x.patient()
	free()
	x.recovered(x.db, 150, 1)
}

// fillDisk takes all the room there is, in smaller and smaller pieces.
func (s *session) fillDisk() {
	s.t.Helper()
	s.exec("CREATE TABLE filler (bytes text) TABLESPACE small")
	s.exec("ALTER TABLE filler ALTER bytes SET STORAGE PLAIN")
	for rows := 512; rows > 0; {
		_, err := s.conn.Exec(s.t.Context(), "INSERT INTO filler SELECT repeat('x', 8000) FROM generate_series(1, $1::int)", rows)
		fault, ok := errors.AsType[*pgconn.PgError](err)
		switch {
		case err == nil:
		case ok && fault.Code == "53100":
			rows /= 2
		default:
			s.t.Fatalf("fill the disk: %v", err)
		}
	}
}

func (s *session) freeDisk() { s.exec("DROP TABLE filler") }

// fullDevice is for those who may not mount a disk: each claim writes to the
// device that is always full.
func (s *session) fullDevice() {
	s.t.Helper()
	s.exec(`CREATE FUNCTION fill() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			COPY (SELECT repeat('x', 8000)) TO '/dev/full';
			RETURN NULL;
		END $$`)
	s.exec("CREATE TRIGGER fill AFTER DELETE ON outbox FOR EACH STATEMENT EXECUTE FUNCTION fill()")
}

func (s *session) freeDevice() { s.exec("DROP TRIGGER fill ON outbox") }
