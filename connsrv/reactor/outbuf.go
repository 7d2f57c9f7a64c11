package reactor

import (
	"github.com/trimq/trimq/connsrv/session"
)

// outItem is a run of bytes that wait to be sent: n bytes of buf from off, or of a file.
type outItem struct {
	buf  []byte // from the pool; nil: a range of src
	src  session.Source
	off  int64
	n    int
	warm int // so many bytes of the range are known to be in the page cache
}

// outQueue is what waits to be sent to one connection. Empty, it holds no memory but a
// short slice.
type outQueue struct {
	items []outItem
	head  int // items before it are sent
	heap  int // bytes of pooled memory held
	total int // bytes to be sent, file ranges included
}

// itemBytes is what an item counts for besides its buffer.
const itemBytes = 96

func (q *outQueue) empty() bool { return q.total == 0 }

// memory is what the queue costs: buffers, and the items themselves.
func (q *outQueue) memory() int { return q.heap + (len(q.items)-q.head)*itemBytes }

// extend returns n bytes at the end of the queue.
func (q *outQueue) extend(p *pool, n int) []byte {
	if n == 0 {
		return nil // an item without bytes would never be sent
	}
	q.total += n
	if last := len(q.items) - 1; last >= q.head {
		it := &q.items[last]
		if end := int(it.off) + it.n; it.buf != nil && len(it.buf)-end >= n {
			it.n += n
			return it.buf[end : end+n : end+n]
		}
	}
	b := p.get(n)
	q.heap += len(b)
	q.push(outItem{buf: b, n: n})
	return b[:n:n]
}

// extendRange adds a range of a file, to the last item where it continues that.
func (q *outQueue) extendRange(src session.Source, off int64, n int) {
	q.total += n
	if last := len(q.items) - 1; last >= q.head {
		if it := &q.items[last]; it.buf == nil && it.src == src && it.off+int64(it.n) == off {
			it.n += n
			return
		}
	}
	src.Retain()
	q.push(outItem{src: src, off: off, n: n})
}

func (q *outQueue) push(it outItem) {
	if q.head > 32 && q.head*2 > len(q.items) {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, it)
}

// sent takes n bytes off the front.
func (q *outQueue) sent(p *pool, n int) {
	q.total -= n
	for n > 0 {
		it := &q.items[q.head]
		if n < it.n {
			it.off += int64(n)
			it.n -= n
			it.warm = max(0, it.warm-n)
			return
		}
		n -= it.n
		q.drop(p, it)
		q.head++
	}
	if q.total == 0 {
		q.reset()
	}
}

func (q *outQueue) drop(p *pool, it *outItem) {
	if it.buf != nil {
		q.heap -= len(it.buf)
		p.put(it.buf)
	} else {
		it.src.Release()
	}
	*it = outItem{}
}

// reset forgets the sent items, and the slice where it has grown.
func (q *outQueue) reset() {
	q.items, q.head = q.items[:0], 0
	if cap(q.items) > 16 {
		q.items = nil
	}
}

// discard drops all that waits.
func (q *outQueue) discard(p *pool) {
	for ; q.head < len(q.items); q.head++ {
		q.drop(p, &q.items[q.head])
	}
	q.total = 0
	q.reset()
}
