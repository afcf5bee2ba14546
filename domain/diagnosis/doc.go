// Package diagnosis turns facts about PostgreSQL, Redis and the process into findings. outboxd doctor, outboxd top,
// /readyz, the web pages and the log show findings of this package, in the same words. This package has the catalogue
// of all findings and the facts of each moment, which are cheap to read. Package thorough has the facts of the slower
// checks.
//
// The functions of this package are pure. The packages below repository and jobs, and the process itself, read the
// facts. Package jobs/broker is an exception: it turns Redis's answer to a command into a finding by itself. The codes
// of these findings are in the catalogue too.
//
// To add a finding, add a line to the catalogue, a field for the fact, and a function that turns the fact into the
// finding.
package diagnosis
