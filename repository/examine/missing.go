package examine

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"outboxd/domain"
	"outboxd/repository/heal"
)

const manyMissing = 10_000

const countMissingSQL = `
SELECT count(*), coalesce(string_agg(DISTINCT event_type, ', ' ORDER BY event_type), ''), coalesce(min(event_id::text), ''),
       coalesce(max(resends), 0)
FROM (SELECT event_type, event_id, resends FROM outbox_missing WHERE ` + heal.IsMissingSQL + ` LIMIT $1) AS few`

// missing reports what the relay that keeps house has found out.
func (e *Examiner) missing(ctx context.Context, tx pgx.Tx) ([]domain.Finding, error) {
	var count, resends int
	var types, first string
	if err := tx.QueryRow(ctx, countMissingSQL, manyMissing+1).Scan(&count, &types, &first, &resends); err != nil || count == 0 {
		return nil, err
	}
	many := fmt.Sprint(count)
	if count > manyMissing {
		many = fmt.Sprintf("more than %d", manyMissing)
	}
	if len(types) > 200 {
		types = types[:200] + " …"
	}
	again := ""
	if resends > 0 {
		again = fmt.Sprintf("; they were sent again up to %d times", resends)
	}
	return one(domain.Finding{
		Code: "events-missing", Level: domain.FindingWarning,
		Found:       fmt.Sprintf("the tasks of %s events that nobody confirmed are not in Redis any more, of the types %s, such as event %s%s", many, types, first, again),
		Consequence: "what they should do was perhaps not done: their tasks were deleted or evicted, or a consumer carries them out and does not confirm them",
		Remedy:      "outboxd redrive --missing sends them again; if nobody confirms a type, name it in --relay-unconfirmed",
	}), nil
}
