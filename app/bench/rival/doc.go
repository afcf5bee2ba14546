// Package rival has the loops that outboxd is compared with: the usual loop of the
// textbooks, and loops that do only the minimum of the work.
package rival
