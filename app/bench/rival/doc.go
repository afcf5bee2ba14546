// Package rival has the loops that outboxd is compared with: the loop of the
// textbook, and the minimum that would do the work at all.
package rival
