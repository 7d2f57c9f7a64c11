package journal

import "github.com/trimq/trimq/protocol/wire"

// NoInput is the Pos of an event that no input caused: producers that expire, messages that
// go back to a queue behind the turn in which their consumer ended.
const NoInput = ^uint64(0)

// EvProducersExpired is the type of ProducersExpired:
//
//	| list of producer i64 |
const EvProducersExpired EventType = 19

// maxExpired bounds the producers of one event.
const maxExpired = 1 << 16

// ProducersExpired: these ids are forgotten, for they were silent for too long or room was
// needed for another.
type ProducersExpired struct {
	Pos uint64
	IDs []int64
}

// Append appends the event.
func (ev *ProducersExpired) Append(b []byte) []byte {
	start := len(b)
	b = wire.AppendUvarint(beginEvent(b, EvProducersExpired, ev.Pos), uint64(len(ev.IDs)))
	for _, id := range ev.IDs {
		b = wire.AppendU64(b, uint64(id))
	}
	return endEvent(b, start)
}

// DecodeProducersExpired reads the event's body.
func DecodeProducersExpired(ev Event) (ProducersExpired, error) {
	if err := ev.expect(EvProducersExpired); err != nil {
		return ProducersExpired{}, err
	}
	c := wire.Read(ev.Body)
	x := ProducersExpired{Pos: ev.Pos}
	if n := c.Count(8, maxExpired); n > 0 {
		x.IDs = make([]int64, n)
		for i := range x.IDs {
			x.IDs[i] = c.I64()
		}
	}
	return x, eventErr(c.Done("producers expired"))
}
