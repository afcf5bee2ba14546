package spare

import (
	"testing"
	"testing/synctest"
	"time"
)

// A task that Asynq does not archive, because its lease was lost, is forgotten.
func TestASparedTaskIsForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var tasks Tasks
		tasks.Spare("a", time.Second)
		time.Sleep(holds / 2)
		tasks.Spare("b", time.Second)
		tasks.Spare("c", time.Second)
		tasks.Spare("c", time.Second)
		time.Sleep(holds)
		tasks.Spare("d", time.Second)
		synctest.Wait()
		var left []any
		tasks.byID.Range(func(id, _ any) bool { left = append(left, id); return true })
		if len(left) != 1 || left[0] != "d" {
			t.Errorf("spared are %v, want d", left)
		}
	})
}
