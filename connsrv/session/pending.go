package session

import (
	"sort"

	"github.com/trimq/trimq/protocol/invariant"
)

// Request is one request of a client that logicsrv has not answered yet. Its record may
// stand in the ring for long, through any number of restarts of logicsrv: what makes it go
// away is the first reply with its number. Later replies with that number find nothing.
type Request struct {
	Req         uint64 // 0: answered
	Correlation uint64
	Bytes       uint32 // of the ring that it holds
	Command     uint16 // the room's
	Quiet       bool   // the client wants no answer
	InTxn       bool   // a batch that is part of a transaction
	Park        *Park  // a fetch that waits
	Sub         *Sub   // a request about a consumer
}

// Pending is the table of a connection's requests. Numbers rise as requests are added and
// are mostly answered in that order, so it is a queue with holes.
// Invariant: list[head:] is sorted by number but for the holes' sake: an answered
// request keeps its number's place in the order in reqs.
type Pending struct {
	list  []Request
	reqs  []uint64 // number of list[i], answered or not
	head  int
	live  int
	bytes int
}

// Len is how many requests are not answered.
func (p *Pending) Len() int { return p.live }

// Bytes is how much of the ring they hold.
func (p *Pending) Bytes() int { return p.bytes }

// Add enters a request. REQUIRES: r.Req is larger than any before.
func (p *Pending) Add(r Request) {
	n := len(p.reqs)
	if r.Req == 0 || n > 0 && p.reqs[n-1] >= r.Req {
		invariant.Fail("request %d after %d", r.Req, p.reqs[max(0, n-1):])
	}
	if p.head > 16 && p.head+p.live < n/2 || n == cap(p.reqs) && p.live < n-n/4 {
		p.compact()
	}
	p.list = append(p.list, r)
	p.reqs = append(p.reqs, r.Req)
	p.live++
	p.bytes += int(r.Bytes)
}

// compact drops what is answered.
func (p *Pending) compact() {
	kept := 0
	for i := p.head; i < len(p.list); i++ {
		if p.list[i].Req != 0 {
			p.list[kept], p.reqs[kept] = p.list[i], p.reqs[i]
			kept++
		}
	}
	clear(p.list[kept:])
	p.list, p.reqs, p.head = p.list[:kept], p.reqs[:kept], 0
}

// Take removes the request of that number; false: it was answered before, or never made.
func (p *Pending) Take(req uint64) (Request, bool) {
	i := p.find(req)
	if i < 0 {
		return Request{}, false
	}
	r := p.list[i]
	p.list[i] = Request{}
	p.live--
	p.bytes -= int(r.Bytes)
	for p.head < len(p.list) && p.list[p.head].Req == 0 {
		p.head++
	}
	if p.live == 0 {
		p.list, p.reqs, p.head = p.list[:0], p.reqs[:0], 0
		if cap(p.list) > 8 { // an idle connection holds no table
			p.list, p.reqs = nil, nil
		}
	}
	return r, true
}

// Get is the request of that number, which stays; nil: as Take.
func (p *Pending) Get(req uint64) *Request {
	if i := p.find(req); i >= 0 {
		return &p.list[i]
	}
	return nil
}

// find is the place of an unanswered request, or -1.
func (p *Pending) find(req uint64) int {
	if p.head < len(p.reqs) && p.reqs[p.head] == req {
		return p.head
	}
	i := p.head + sort.Search(len(p.reqs)-p.head, func(i int) bool { return p.reqs[p.head+i] >= req })
	if i < len(p.reqs) && p.reqs[i] == req && p.list[i].Req == req && req != 0 {
		return i
	}
	return -1
}

// Each calls f for every unanswered request, in order of their numbers.
func (p *Pending) Each(f func(*Request)) {
	for i := p.head; i < len(p.list); i++ {
		if p.list[i].Req != 0 {
			f(&p.list[i])
		}
	}
}
