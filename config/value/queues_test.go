package value_test

import (
	"testing"

	"outboxd/config/value"
	"outboxd/domain/setup"
)

// config knows no package of the domain, so it states the prefix itself.
func TestThePrefixOfSubscriptionsIsThatOfTheDomain(t *testing.T) {
	t.Parallel()
	if value.SubscriptionQueuePrefix != setup.SubscriptionQueuePrefix {
		t.Errorf("%q, want %q", value.SubscriptionQueuePrefix, setup.SubscriptionQueuePrefix)
	}
}
