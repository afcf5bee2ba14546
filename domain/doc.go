// Package domain holds the terms of outboxd: events, the rules they obey, the
// error codes that cross package borders, and the interfaces between the
// packages. Each package below it has one subject: for example, lives has what pages and
// commands know of single events, queued what Redis knows of tasks, setup what people set
// up, and overview the numbers of the whole system. The example's terms are in the package
// registration.
//
// Package domain imports only the standard library and the package words below it. It
// contains no SQL statement, and speaks neither HTTP nor Redis's protocol. Of the packages
// below it, only observe imports other libraries.
package domain
