package stored

// PassTurnsSQL passes turns in the order of the IDs, so that two callers with the same turns do not
// deadlock.
//
//nolint:gosec // no credential
const PassTurnsSQL = `SELECT outbox_pass_turn(id) FROM (SELECT unnest($1::uuid[]) AS id ORDER BY 1) AS ended`

// PassEndedTurnsSQL passes the turns of events that came to an end other than by a
// confirmation. An event that was written more than once may be in flight all the
// same: its turn then lasts until that ends, or the next of its key would go before it.
//
//nolint:gosec // no credential
const PassEndedTurnsSQL = `
SELECT outbox_pass_turn(id) FROM (SELECT unnest($1::uuid[]) AS id ORDER BY 1) AS ended
WHERE NOT EXISTS (SELECT FROM outbox_sent s WHERE s.id = ended.id) OR EXISTS (SELECT FROM inbox i WHERE i.event_id = ended.id)`
