package bench

// responsiveness are the benchmarks of how soon an event gets through, and of
// what the relay costs its producers and, while nothing happens, everybody.
func responsiveness() []Bench { return []Bench{Latency(), Producer(), Idle(), Network(), Soak()} }
