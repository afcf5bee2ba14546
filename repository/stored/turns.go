package stored

// PassTurnsSQL passes turns in the order of the keys, as outbox_advance and confirm_many lock them, so
// that two callers with the same turns do not deadlock.
//
//nolint:gosec // no credential
const PassTurnsSQL = `
SELECT outbox_pass_turn(event_id)
FROM (SELECT event_id FROM outbox_turns WHERE event_id = ANY ($1::uuid[]) ORDER BY ordering_key) AS ended`

// PassEndedTurnsSQL passes the turns of events that came to an end other than by a
// confirmation. An event that was written more than once may be in flight all the
// same: its turn then lasts until that ends, or the next of its key would go before it.
// Only events that have a turn are looked for in the history.
//
//nolint:gosec // no credential
const PassEndedTurnsSQL = `
SELECT outbox_pass_turn(event_id)
FROM (SELECT event_id FROM outbox_turns WHERE event_id = ANY ($1::uuid[]) ORDER BY ordering_key) AS ended
WHERE (SELECT true FROM outbox_sent s WHERE s.id = ended.event_id LIMIT 1) IS NULL
   OR (SELECT true FROM inbox i WHERE i.event_id = ended.event_id LIMIT 1) IS NOT NULL`
