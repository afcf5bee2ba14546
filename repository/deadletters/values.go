package deadletters

import (
	"context"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

const (
	// valueShown is how many characters of a value are compared and returned.
	valueShown = 200
	// valuesBytes bounds the payloads that one statement reads for their values. PostgreSQL parses about 100 MB of
	// JSON in a second.
	valuesBytes = 16 << 20
	// sampled is how many payloads a sample has, and sampledBytes is the size of the largest one, in bytes.
	sampled      = 100
	sampledBytes = 16 << 10
)

// valuesSQL groups the $27 latest dead letters that match the filter by the value at the path $29, as deadGroupsSQL
// groups them by error. $30 has bytes that each payload with the path contains. The size of a payload is known
// without reading the payload. OFFSET 0 keeps PostgreSQL from computing a value again for each of its uses.
var valuesSQL = `
SELECT CASE WHEN nested OR value IS NULL THEN '' WHEN length(value) > $32 THEN left(value, $32) || '*' ELSE value END,
       CASE WHEN nested THEN $33 WHEN value IS NULL THEN $34 ELSE '' END, count(*), min(died_at), max(died_at), count(*) OVER (), sum(count(*)) OVER (), max(found)
FROM (SELECT payload, died_at, sum(octet_length(payload)) OVER (ORDER BY died_at DESC, id DESC) - octet_length(payload) AS bytes_before, count(*) OVER () AS found
      FROM (SELECT payload, died_at, id FROM outbox_dead d WHERE ` + deadFilterSQL + ` ORDER BY died_at DESC, id DESC LIMIT $27) AS latest) AS read,
     LATERAL (SELECT ` + stored.ValueSQL("$29", "$30") + ` AS value OFFSET 0) AS field,
     LATERAL (SELECT CASE WHEN left(value, 1) IN ('{', '[') THEN ` + stored.NestedSQL("$29") + ` ELSE false END AS nested OFFSET 0) AS form
WHERE bytes_before < $31
GROUP BY 1, 2 ORDER BY count(*) DESC, max(died_at) DESC LIMIT $28`

// Values implements domain.DeadLetters.
func (l *Letters) Values(ctx context.Context, filter domain.DeadFilter, path []string, limit int) (v domain.FieldValues, err error) {
	const doing = "look for the values of a payload field"
	rows, err := l.db.Pool().Query(ctx, valuesSQL, valuesArgs(filter, path, limit)...)
	if err != nil {
		return v, postgres.Translate(err, doing)
	}
	var found int
	v.Largest, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (f domain.FieldValue, err error) {
		err = row.Scan(&f.Value, &f.Kind, &f.Count, &f.FirstDied, &f.LastDied, &v.Distinct, &v.Looked, &found)
		return f, err
	})
	v.More = found == limit || found > v.Looked
	return v, postgres.Translate(err, doing)
}

func valuesArgs(filter domain.DeadFilter, path []string, limit int) []any {
	part := domain.PayloadField{Path: path, Any: true}.Part()
	return append(deadArgs(filter), limit, maxGroups, path, part, valuesBytes, valueShown, string(domain.FieldNested), string(domain.FieldMissing))
}

var sampleSQL = `
SELECT payload FROM outbox_dead d WHERE ` + deadFilterSQL + ` AND octet_length(payload) <= $28 ORDER BY died_at DESC, id DESC LIMIT $27`

// Fields implements domain.DeadLetters.
func (l *Letters) Fields(ctx context.Context, filter domain.DeadFilter) ([]string, error) {
	const doing = "look for payload fields"
	rows, err := l.db.Pool().Query(ctx, sampleSQL, append(deadArgs(filter), sampled, sampledBytes)...)
	if err != nil {
		return nil, postgres.Translate(err, doing)
	}
	payloads, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	return domain.FieldsOf(payloads), postgres.Translate(err, doing)
}
