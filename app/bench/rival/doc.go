// Package rival is what outboxd is compared with: the loop of the textbook, and the
// least that would do the work at all.
package rival
