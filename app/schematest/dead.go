package schematest

// DeadOf begins a statement that copies events among the dead letters, as ones
// that the relay gave up for a failure, which is text for SQL. What follows it
// is the FROM clause, which has to call the table of the events o.
func DeadOf(failure string) string {
	const columns = `id, event_type, payload, headers, queue, available_at, attempts, generation, created_at`
	return `INSERT INTO outbox_dead (` + columns + `, stage, error)
		SELECT o.id, o.event_type, o.payload, o.headers, o.queue, o.available_at, o.attempts, o.generation, o.created_at, 'relay', '` + failure + `' `
}
