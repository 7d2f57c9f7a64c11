package core

import (
	"slices"

	"github.com/trimq/trimq/protocol/admin"
)

// maxProducersTold bounds the producers of one topic that a reply tells of.
const maxProducersTold = 8192

// describeTxnal adds a transactional producer, with the partitions of its open transaction.
func (c *Core) describeTxnal(p *page, id string, x *txnal) bool {
	if !p.take(40 + len(id) + 64*len(x.parts)) {
		return false
	}
	d := admin.TxnalInfo{
		ID: id, ProducerID: x.prod.id, Epoch: x.prod.epoch, TimeoutMS: x.timeoutMS, BegunMS: x.begunMS, Phase: admin.TxnalPhase(x.phase),
	}
	for _, part := range x.parts {
		ix, _ := c.indexes.get(part.index)
		d.Parts = append(d.Parts, admin.TxnalPart{Topic: ix.topic.name, Number: ix.number()})
	}
	p.out.Txnals = append(p.out.Txnals, d)
	return true
}

// number is that of a partition in its topic.
func (ix *index) number() uint32 { return uint32(slices.Index(ix.topic.partitions, ix)) }

// describeProducers adds a topic with the idempotent producers that its partitions know: as many as are
// told of one topic.
func (c *Core) describeProducers(p *page, name string, t *topic) bool {
	d := admin.ProducersInfo{Topic: name}
	numbers := make(map[uint64]uint32, len(t.partitions))
	for i, ix := range t.partitions {
		numbers[ix.id] = uint32(i)
	}
	tell := func(prod *producer) {
		for i := range prod.lanes {
			l := &prod.lanes[i]
			number, ok := numbers[l.to]
			if !ok || len(d.List) >= maxProducersTold {
				continue
			}
			info := admin.ProducerInfo{Partition: number, ProducerID: prod.id, Epoch: l.epoch, Sequence: sequence(l.next, 1<<31-1), UsedMS: prod.used}
			if prod.txnal != nil {
				if at, ok := prod.txnal.part(l.to); ok && prod.txnal.parts[at].first != noOffset {
					info.Open, info.First = true, prod.txnal.parts[at].first
				}
			}
			d.List = append(d.List, info)
		}
	}
	for prod := c.producers.oldest; prod != nil; prod = prod.newer {
		tell(prod)
	}
	for _, x := range c.txnals.all {
		tell(x.prod)
	}
	if !p.take(16 + len(name) + 40*len(d.List)) {
		return false
	}
	slices.SortStableFunc(d.List, func(a, b admin.ProducerInfo) int { return int(a.Partition) - int(b.Partition) })
	p.out.Producers = append(p.out.Producers, d)
	return true
}

// listHeld tells, of the groups that were asked for, of which partitions open transactions hold positions.
func (c *Core) listHeld(p *page) {
	for _, group := range p.ask.Names {
		d := admin.HeldInfo{Group: group}
		for _, x := range c.txnals.all {
			for i := range x.held {
				if x.held[i].group != group {
					continue
				}
				for _, o := range x.held[i].offsets {
					d.Indexes = append(d.Indexes, o.Index)
				}
			}
		}
		slices.Sort(d.Indexes)
		d.Indexes = slices.Compact(d.Indexes)
		if !p.take(16 + len(group) + 8*len(d.Indexes)) {
			return
		}
		p.out.Held = append(p.out.Held, d)
	}
}
