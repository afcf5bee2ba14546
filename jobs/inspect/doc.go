// Package inspect looks at Redis as a whole: its settings, its state, the contents of its
// queues, the workers that serve the queues, and the tasks that Asynq has archived. It
// changes nothing.
//
// Package lookup finds single tasks.
package inspect
