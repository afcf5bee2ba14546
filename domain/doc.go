// Package domain holds what outboxd is about: events, users, notifications,
// the rules they obey, the error codes that cross package borders, and the
// interfaces through which the packages meet.
//
// It imports the standard library only. It knows neither SQL, HTTP nor Redis.
package domain
