package bench

import (
	"context"
	"time"

	"github.com/dnnsplit/dnnsplit/compiler/rusage"
)

// What counts as rest: threads of this process that together take less than a tenth
// of a core, looked at that often, for that long at most.
const (
	settleStep  = 5 * time.Millisecond
	settleShare = 10
	settleMost  = 2 * time.Second
	settleBlind = 100 * time.Millisecond // where the system does not tell
)

// settle waits until nothing of what ran last runs any more. ONNX Runtime's threads
// go on looking for work after a run, for 30 to 50 ms where it was measured (version
// 1.30), for more than a second elsewhere, and so keep the cores from what comes
// next: a split that was measured behind the whole model on two threads seemed half
// as fast as it is.
func settle(ctx context.Context) {
	end := time.Now().Add(settleMost)
	for {
		began, used := time.Now(), rusage.CPUTime()
		step := settleStep
		if used == 0 {
			step = settleBlind
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(step):
		}
		if used == 0 || rusage.CPUTime()-used < time.Since(began)/settleShare || time.Now().After(end) {
			return
		}
	}
}
