package deadletters

import (
	"slices"

	"outboxd/domain"
	"outboxd/repository/postgres"
	"outboxd/repository/stored"
)

// deadFilterSQL is the condition of a domain.DeadFilter, with the parameters of
// deadArgs: $1 to $26. What costs little comes first.
var deadFilterSQL = `
    ($1::uuid[] IS NULL OR d.id = ANY ($1)) AND ` + stored.NamedSQL("$2", "d.event_type") + ` AND ` + stored.NamedSQL("$3", "d.queue") + `
    AND ($4 = '' OR d.stage = $4) AND ($6::float8 = 0 OR d.died_at <= now() - $6 * interval '1 second') AND ($7::float8 = 0 OR d.died_at >= now() - $7 * interval '1 second')
    AND ($8::timestamptz IS NULL OR d.died_at <= $8) AND ($11::timestamptz IS NULL OR d.died_at >= $11) AND ($10::uuid[] IS NULL OR d.id <> ALL ($10))
    AND ($12 = '' OR d.ordering_key = $12) AND ` + stored.NotNamedSQL("$13", "d.event_type") + `
    AND ($14 = '' OR CASE WHEN $15 = '' THEN d.headers ->> $14 IS NOT NULL ELSE d.headers ->> $14 = $15 END)
    AND ($5 = '' OR strpos(lower(d.error), lower($5)) > 0)
    AND ($16::text[] IS NULL OR NOT EXISTS (SELECT FROM unnest($16::text[]) AS part WHERE strpos(lower(d.error), lower(part)) > 0))
    AND ($9::text IS NULL OR ` + errorFormSQL + ` = $9) AND ($17::text[] IS NULL OR ` + errorFormSQL + ` <> ALL ($17))
    AND ` + stored.FieldSQL(18) + ` AND ` + stored.NotFieldsSQL(21) + `
    AND ` + stored.NotKeysSQL("$24") + ` AND ` + stored.NotHeadersSQL(25)

func deadArgs(f domain.DeadFilter) []any {
	var form *string // nil: any
	if f.NoError {
		form = new("")
	} else if f.ErrorForm != "" {
		form = &f.ErrorForm
	}
	return slices.Concat([]any{
		postgres.UUIDs(f.IDs), f.Type, f.Queue, string(f.Stage), f.Error, f.OlderThan.Seconds(), f.NewerThan.Seconds(), stored.TimeOrNull(f.Until), form, postgres.UUIDs(f.Except),
		stored.TimeOrNull(f.Since), f.OrderingKey, f.NotTypes, f.HeaderName, f.HeaderValue, f.NotErrors, f.NotForms,
	}, stored.FieldArgs(f.Payload), stored.NotFieldsArgs(f.NotFields), []any{f.NotKeys}, stored.NotHeadersArgs(f.NotHeaders))
}
