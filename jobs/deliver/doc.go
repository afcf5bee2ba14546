// Package deliver sends events to receivers over HTTP, unchanged or as CloudEvents. If
// the subscription has secrets, the requests are signed by the Standard Webhooks scheme
// (standardwebhooks.com).
//
// A Sender sends one delivery and returns its outcome. A Receiver adds a circuit breaker
// and a rate limiter for all deliveries to one receiver. A Handler runs the tasks of a
// subscription. Each request carries the ID of the event, so that the receiver can
// recognise a repeat. The package knows neither Redis nor SQL.
package deliver
