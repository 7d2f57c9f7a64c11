//go:build failpoints

package sim

import (
	"math"
	"slices"

	"github.com/trimq/trimq/logicsrv/core"
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
)

// underWay tells which deliveries were decided before a queue was set back and arrive behind it. Their messages
// are given out twice, and a verdict on the first may count for the second, which arrives before any such
// verdict is confirmed.
type underWay struct {
	turn    int                        // turns of logicsrv so far
	decided map[ipc.Deliver][]int      // in which turns; the eldest first
	seeks   map[givenKey][]decidedSeek // of an index of a queue
}

type decidedSeek struct {
	turn int
	from uint64 // offset
}

func newUnderWay() underWay {
	return underWay{decided: map[ipc.Deliver][]int{}, seeks: map[givenKey][]decidedSeek{}}
}

// sent notes what a turn has decided to deliver.
func (u *underWay) sent(outputs []core.Output) error {
	u.turn++
	for i := range outputs {
		if outputs[i].Type != ipc.TypeDeliver {
			continue
		}
		d, err := ipc.DecodeDeliver(outputs[i].Record)
		if err != nil {
			return err
		}
		u.decided[d] = append(u.decided[d], u.turn)
	}
	return nil
}

// sought notes a seek of this turn; what the turn delivers it decides behind it.
func (u *underWay) sought(queue uint64, to admin.SeekTo) {
	k := givenKey{queue, to.Index}
	u.seeks[k] = append(u.seeks[k], decidedSeek{u.turn, to.Offset})
}

// arrived tells from which offset on the queue was set back after a delivery of it had been decided, and the highest if it was not.
func (u *underWay) arrived(queue uint64, d *ipc.Deliver) uint64 {
	from := uint64(math.MaxUint64)
	turns := u.decided[*d]
	if len(turns) == 0 {
		return from
	}
	if u.decided[*d] = turns[1:]; len(turns) == 1 {
		delete(u.decided, *d)
	}
	for _, s := range slices.Backward(u.seeks[givenKey{queue, d.Index}]) {
		if s.turn <= turns[0] {
			break
		}
		from = min(from, s.from)
	}
	return from
}
