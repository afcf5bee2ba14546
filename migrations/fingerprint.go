package migrations

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// fingerprints maps the version of each migration of a set to a fingerprint of its statements. Lines that
// are only a comment do not count.
//
// The comment on the set's table of migrations keeps the fingerprints, as "1=0a1b2c3d4e5f 2=...". So a build
// recognises a schema that another build made from other statements. Builds have different statements for the same
// version only before a release.
type fingerprints map[int64]string

// fingerprintLength is how many hexadecimal digits of a SHA-256 are kept.
const fingerprintLength = 12

func (s Set) fingerprints() (fingerprints, error) {
	names, err := fs.Glob(s.Files, "*.sql")
	if err != nil {
		return nil, fmt.Errorf("list the migrations: %w", err)
	}
	prints := fingerprints{}
	for _, name := range names {
		number, _, _ := strings.Cut(name, "_")
		version, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("migration %s: its name does not begin with a number: %w", name, err)
		}
		text, err := fs.ReadFile(s.Files, name)
		if err != nil {
			return nil, fmt.Errorf("read migration %s: %w", name, err)
		}
		hash := sha256.New()
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "--") {
				hash.Write([]byte(line + "\n"))
			}
		}
		prints[version] = hex.EncodeToString(hash.Sum(nil))[:fingerprintLength]
	}
	return prints, nil
}

// parseFingerprints reads the comment on a table of migrations. parseFingerprints leaves
// out what it does not understand.
func parseFingerprints(comment string) fingerprints {
	prints := fingerprints{}
	for field := range strings.FieldsSeq(comment) {
		number, made, _ := strings.Cut(field, "=")
		if version, err := strconv.ParseInt(number, 10, 64); err == nil {
			prints[version] = made
		}
	}
	return prints
}

// String returns the fingerprints as the comment has them.
func (f fingerprints) String() string {
	fields := make([]string, 0, len(f))
	for _, version := range slices.Sorted(maps.Keys(f)) {
		fields = append(fields, strconv.FormatInt(version, 10)+"="+f[version])
	}
	return strings.Join(fields, " ")
}

// otherBuild returns an error if the schema has a migration that another build made from
// other statements than this build has, or whose fingerprint is not recorded. Migrations
// that only a newer build knows do not count.
func (p place) otherBuild(migrations []Migration) error {
	own, err := p.set.fingerprints()
	if err != nil {
		return err
	}
	made := parseFingerprints(p.comment)
	for _, m := range migrations {
		if !m.IsApplied() || made[m.Version] == own[m.Version] {
			continue
		}
		return fmt.Errorf("another build of outboxd made the schema %s of this database, and this build does not read it (migration %d has other statements): "+
			"give outboxd another database (or, where it runs its own, another --data-dir), or drop that schema and start again. "+
			"If this build made it and a restore left out the comments, run COMMENT ON TABLE %s IS '%s'", quote(p.name), m.Version, p.table(), own)
	}
	return nil
}

// recordFingerprints writes the fingerprints of the migrations that are about to be
// applied beside those of the applied ones. recordFingerprints runs before the migrations,
// so that a process that dies in between leaves no migration without a fingerprint. The
// caller holds the migration lock.
func (s Set) recordFingerprints(ctx context.Context, conn *sql.Conn) error {
	p, err := s.findPlace(ctx, conn)
	if err != nil {
		return err
	}
	applied, err := p.appliedAt(ctx, conn)
	if err != nil {
		return err
	}
	prints, err := s.fingerprints()
	if err != nil {
		return err
	}
	for version, made := range parseFingerprints(p.comment) {
		if _, ok := applied[version]; ok {
			prints[version] = made
		}
	}
	// A COMMENT takes no parameters. Fingerprints have no quotes.
	if _, err := conn.ExecContext(ctx, "COMMENT ON TABLE "+p.table()+" IS '"+prints.String()+"'"); err != nil {
		return fmt.Errorf("record which migrations this build has: %w", err)
	}
	return nil
}
