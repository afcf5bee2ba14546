// Package deliver sends events to receivers over HTTP: signed by the Standard
// Webhooks scheme (standardwebhooks.com), unchanged or as CloudEvents.
//
// Sender sends one delivery and returns what became of it. Receiver adds a breaker
// and a limiter for all deliveries to one receiver. Handler carries out the tasks of
// a subscription. Each delivery carries its event's ID, so that the receiver can
// recognise a repeat. The package knows neither Redis nor SQL.
package deliver
