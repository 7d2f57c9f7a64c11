package session

import "github.com/trimq/trimq/protocol/ipc"

// Pulling is a PULL that has not been answered to the client. logicsrv may answer several Pulls
// for it, one after the other, as long as nothing of what they bring matches the queue's filter.
type Pulling struct {
	Req         uint64 // of the Pull that is under way, or was answered last
	Sub         *Sub   // in whose hand it goes; with a lease one of number 0, which holds nothing
	Max         uint32
	AutoAck     bool
	InvisibleMS uint64 // 0: no lease
	DeadlineMS  int64  // of the connection's clock
	Told        bool   // the Pull is in the ring
	Ended       bool   // it waits no longer: its PullEnd is in the ring, or it never did

	// The answer, from when it has come.
	Answered bool
	Lease    uint64
	UntilMS  int64
	Runs     []ipc.PulledRun // Runs[Next:] are not sent yet; the first of them is what is left of it
	Next     int
	Sent     uint32 // messages
}

// Pull is the record that asks for what the client still waits for.
func (p *Pulling) Pull(h ipc.Head) ipc.Pull {
	return ipc.Pull{
		Head: h, Sub: p.Sub.ID, Queue: p.Sub.Index, Max: p.Max, Wait: !p.Ended, AutoAck: p.AutoAck, InvisibleMS: p.InvisibleMS,
	}
}

// Waits tells whether it waits for messages: logicsrv is to be told when its time is over.
func (p *Pulling) Waits() bool { return !p.Answered && !p.Ended }

// Answer takes what logicsrv gives.
func (p *Pulling) Answer(m *ipc.Pulled) {
	p.Answered, p.Lease, p.UntilMS = true, m.Lease, m.UntilMS
	p.Runs, p.Next = m.Runs, 0
}

// Again makes it one that asks once more, under another number: nothing came that matched.
func (p *Pulling) Again(req uint64) {
	p.Req, p.Answered, p.Told = req, false, false
	p.Runs, p.Next = nil, 0
}
