//go:build !crashpoints

package crashpoint

// Reach does nothing, and costs nothing.
func Reach(Point) {}
