package schematest

// DeadOf returns the beginning of a statement that copies events to the dead
// letters, as if the relay had given them up with the error failure. failure must
// be escaped for a SQL string. The caller adds a FROM clause, in which the table
// of the events has the alias o, such as FROM outbox o.
func DeadOf(failure string) string {
	const columns = `id, event_type, payload, headers, queue, available_at, attempts, generation, created_at`
	return `INSERT INTO outbox_dead (` + columns + `, stage, error)
		SELECT o.id, o.event_type, o.payload, o.headers, o.queue, o.available_at, o.attempts, o.generation, o.created_at, 'relay', '` + failure + `' `
}
