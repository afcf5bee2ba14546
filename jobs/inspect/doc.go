// Package inspect looks at Redis as a whole: its settings, its state, the contents of its queues,
// the workers that serve the queues, and the tasks that Asynq has archived. It changes nothing,
// except that a probe writes a key of outboxd's own.
//
// Package lookup finds single tasks.
package inspect
