package stored

import "outboxd/domain"

// DeliveryColumns are the columns of a delivery, for ColumnsWith: what they are made of
// stands in event, a table or alias, and, of the subscription, in the columns name,
// ordering, most_attempts and delivery_id.
//
// Two headers are added if there is room, as there almost always is.
func DeliveryColumns(event string) map[string]string {
	return map[string]string{
		"id":                "delivery_id",
		"headers":           "CASE WHEN pg_column_size(" + event + ".headers) < 65000 THEN " + event + ".headers || jsonb_build_object('" + domain.HeaderOrigin + "', " + event + ".id, '" + domain.HeaderQueue + "', queue) ELSE " + event + ".headers END",
		"queue":             "'" + domain.SubscriptionQueuePrefix + "' || name",
		"max_retry":         "most_attempts - 1",
		"timeout_seconds":   "NULL::integer",
		"deadline":          "NULL::timestamptz",
		"retention_seconds": "NULL::integer",
		"unique_seconds":    "NULL::integer",
		"attempts":          "0",
		"generation":        "0",
		"last_error":        "NULL::text",
		"ordering_key":      "CASE WHEN ordering = 'key' AND ordering_key IS NOT NULL THEN outbox_delivery_key(name, ordering_key) END",
		"ordering_position": "CASE WHEN ordering = 'key' THEN ordering_position END",
		"origin_id":         event + ".id",
		"subscription":      "name",
		"split":             "NULL::text",
	}
}
