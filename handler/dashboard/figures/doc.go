// Package figures has the pages of figures: of event types, queues and workers, and the charts of the
// overview. It also has the names of types and queues that forms suggest. The form that pauses a queue is here too.
package figures
