// Package domain holds the terms of outboxd: events, the rules they obey, the
// error codes that cross package borders, and the interfaces between the
// packages. The example's terms are in the package registration.
//
// It imports only the standard library. It knows neither SQL, HTTP nor Redis.
package domain
