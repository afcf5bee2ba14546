// Package inspect looks at Redis as a whole: its settings and its state, the
// contents of its queues, the workers that serve them, and the tasks that Asynq
// archived. It changes nothing.
//
// Package lookup finds single tasks.
package inspect
