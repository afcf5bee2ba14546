package stored

// PassTurnsSQL passes the turns of the given events to the next events of their keys.
// PassTurnsSQL passes turns in the order of the keys, as outbox_advance and confirm_many
// lock them, so that two callers with the same turns do not deadlock.
//
//nolint:gosec // no credential
const PassTurnsSQL = `
SELECT outbox_pass_turn(event_id)
FROM (SELECT event_id FROM outbox_turns WHERE event_id = ANY ($1::uuid[]) ORDER BY ordering_key) AS ended`

// PassEndedTurnsSQL passes the turns of events that ended without a confirmation. If a
// producer wrote an event more than once, another row of it may still be in flight. If
// the history has that row, unconfirmed, the event keeps its turn until that row ends:
// otherwise the next event of the key would overtake it. PassEndedTurnsSQL looks into the
// history only for events that have a turn.
//
//nolint:gosec // no credential
const PassEndedTurnsSQL = `
SELECT outbox_pass_turn(event_id)
FROM (SELECT event_id FROM outbox_turns WHERE event_id = ANY ($1::uuid[]) ORDER BY ordering_key) AS ended
WHERE (SELECT true FROM outbox_sent s WHERE s.id = ended.event_id LIMIT 1) IS NULL
   OR (SELECT true FROM inbox i WHERE i.event_id = ended.event_id LIMIT 1) IS NOT NULL`
