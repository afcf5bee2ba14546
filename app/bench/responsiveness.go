package bench

// responsiveness are the benchmarks of how soon an event gets through and what
// waiting for it costs.
func responsiveness() []Bench { return nil }
