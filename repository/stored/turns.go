package stored

// PassTurnsSQL passes turns in the order of the IDs, so that two callers with the same turns do not
// deadlock.
//
//nolint:gosec // no credential
const PassTurnsSQL = `SELECT outbox_pass_turn(id) FROM (SELECT unnest($1::uuid[]) AS id ORDER BY 1) AS ended`
