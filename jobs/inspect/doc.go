// Package inspect looks at Redis as a whole: how it is set up and how it does, what
// its queues hold, who serves them, and what Asynq archived. It changes nothing.
//
// Single tasks are the subject of package lookup.
package inspect
