// Package diagnosis turns facts about PostgreSQL, Redis and the process into findings. outboxd doctor, outboxd top,
// /readyz, the web pages and the log all show these findings, so they have the same thresholds and the same words.
//
// The functions of this package are pure; packages repository and jobs and the process itself read the facts. There
// is one exception: package jobs/broker itself turns Redis's answer to a command into a finding. The codes of these
// findings are in the catalogue too.
//
// To add a finding, add a line to the catalogue, a field for the fact, and a function that turns the fact into the
// finding.
package diagnosis
