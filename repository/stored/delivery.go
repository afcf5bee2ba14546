package stored

import (
	"outboxd/domain"
	"outboxd/domain/setup"
)

// DeliveryColumns returns the columns of a delivery, for ColumnsWith. event is the table
// or alias that has the event. A statement with DeliveryColumns must also have the columns
// name, ordering and most_attempts of the subscription, and the column delivery_id.
//
// A delivery has headers that its event does not have: domain.HeaderOrigin, HeaderQueue
// and HeaderKey. If the headers would become larger than the outbox accepts, the row has
// none of these three. Its task names the event nevertheless. The size is that of the new
// value: the size of a value that a table has may be its compressed size.
func DeliveryColumns(event string) map[string]string {
	headers := "(" + event + ".headers || jsonb_strip_nulls(jsonb_build_object('" +
		domain.HeaderOrigin + "', " + event + ".id, '" + domain.HeaderQueue + "', queue, '" + domain.HeaderKey + "', ordering_key)))"
	return map[string]string{
		"id":                "delivery_id",
		"headers":           "CASE WHEN pg_column_size(" + headers + ") <= 65536 THEN " + headers + " ELSE " + event + ".headers END",
		"queue":             "'" + setup.SubscriptionQueuePrefix + "' || name",
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
