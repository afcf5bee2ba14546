// Package thorough turns the facts of the slower checks into findings: settings, catalogs, rights and samples, which a
// daemon reads once a minute and outboxd doctor when it is called. Package diagnosis has the catalogue and the bounds of
// all findings, and turns the facts of each moment into findings.
//
// The functions of this package are pure. Packages repository/examine and jobs/inspect read the facts.
package thorough
