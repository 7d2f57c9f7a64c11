package shell

// marks remembers, in the order of ring 65432, what each record waits for before it may be
// released. Neighbours of one Step that wait for the same cursor share a mark.
type marks struct {
	queue []mark
	first int // in queue
	fresh int // first mark of this Step: earlier ones are not extended
}

type mark struct {
	end  uint64 // release up to here …
	lsn  uint64 // … when the cursor has reached this
	sync bool   // the cursor is synced; otherwise written
}

// begin starts a Step.
func (m *marks) begin() {
	if m.first == len(m.queue) {
		m.queue, m.first = m.queue[:0], 0
	} else if m.first > len(m.queue)/2 {
		m.queue = m.queue[:copy(m.queue, m.queue[m.first:])]
		m.first = 0
	}
	m.fresh = len(m.queue)
}

// add notes a record that ends at a ring position.
func (m *marks) add(end, lsn uint64, sync bool) {
	if n := len(m.queue); n > m.fresh && m.queue[n-1].sync == sync {
		m.queue[n-1].end, m.queue[n-1].lsn = end, max(lsn, m.queue[n-1].lsn)
		return
	}
	m.queue = append(m.queue, mark{end, lsn, sync})
}

// done returns up to where may be released by these cursors; 0: nothing new.
func (m *marks) done(written, synced uint64) (end uint64) {
	for m.first < len(m.queue) {
		k := m.queue[m.first]
		if k.sync && k.lsn > synced || k.lsn > written {
			break
		}
		end = k.end
		m.first++
	}
	return end
}

// wantsSync says whether a record waits for more than what is synced.
func (m *marks) wantsSync(synced uint64) bool {
	for _, k := range m.queue[m.first:] {
		if k.sync && k.lsn > synced {
			return true
		}
	}
	return false
}

// ready says whether done would return something.
func (m *marks) ready(written, synced uint64) bool {
	if m.first == len(m.queue) {
		return false
	}
	k := m.queue[m.first]
	return k.lsn <= written && (!k.sync || k.lsn <= synced)
}
