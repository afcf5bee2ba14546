// Package domain holds what outboxd is about: events, the rules they obey, the
// error codes that cross package borders, and the interfaces through which the
// packages meet. The example's part is in the package registration.
//
// It imports the standard library only. It knows neither SQL, HTTP nor Redis.
package domain
