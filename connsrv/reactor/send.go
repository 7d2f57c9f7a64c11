package reactor

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// How ranges of files go out. Hot ranges (in the page cache) are sent from the mapping by
// writev, together with the headers before and after them. Ranges that are not in memory
// go by sendfile: a page fault on a mapping would hold one of Go's processors while the
// disk is read, a system call gives it up. mincore tells one from the other.
// BenchmarkSend measures both; see docs/decisions for the figures.
const (
	maxIovecs     = 64
	maxWriteBytes = 2 << 20 // in one system call
	flushBudget   = 8 << 20 // to one connection in one turn
)

var pageSize = int64(os.Getpagesize())

// flush sends until nothing waits, the socket is full, or the budget is used up.
func (c *Conn) flush() {
	sent := 0
	defer func() { c.loop.bytesOut += uint64(sent) }()
	for !c.out.empty() && sent < flushBudget {
		n, err := c.send()
		switch {
		case err == unix.EAGAIN:
			c.writable = false
			if c.stalledMS == 0 {
				c.stalledMS = c.loop.nowMS
				c.armTimer()
			}
			c.eased()
			return
		case err == unix.EINTR:
			continue
		case err != nil:
			c.destroy(reasonWrite)
			return
		}
		sent += n
		c.stalledMS, c.sentMS = 0, c.loop.nowMS
		c.out.sent(&c.loop.pool, n)
	}
	c.eased()
	switch {
	case c.out.empty() && c.closing:
		c.linger()
	case !c.out.empty():
		c.markDirty() // the budget is used up: others first
	}
}

// send makes one system call.
func (c *Conn) send() (int, error) {
	l := c.loop
	iov, n := l.iovecs[:0], 0
	cold := -1
	for i := c.out.head; i < len(c.out.items) && len(iov) < maxIovecs && n < maxWriteBytes; i++ {
		it := &c.out.items[i]
		b := it.buf
		if b != nil {
			b = b[it.off : int(it.off)+it.n]
		} else if b = l.hotRange(it, maxWriteBytes-n); b == nil {
			cold = i
			break
		}
		var v unix.Iovec
		v.Base = unsafe.SliceData(b)
		v.SetLen(len(b))
		iov = append(iov, v)
		n += len(b)
		if len(b) < it.n {
			break
		}
	}
	if len(iov) == 0 {
		it := &c.out.items[cold]
		off := it.off
		n, err := unix.Sendfile(c.fd, it.src.Fd(), &off, min(it.n, maxWriteBytes))
		if err == nil && n == 0 {
			return 0, unix.EIO // the file is shorter than its index says
		}
		l.coldBytes += uint64(max(n, 0))
		return n, err
	}
	return c.sendIovecs(iov, cold >= 0)
}

// sendIovecs is sendmsg; more: a sendfile follows, so that a header does not travel alone.
func (c *Conn) sendIovecs(iov []unix.Iovec, more bool) (int, error) {
	msg := c.loop.msghdr
	msg.Iov = &iov[0]
	msg.SetIovlen(len(iov))
	flags := unix.MSG_NOSIGNAL | unix.MSG_DONTWAIT
	if more {
		flags |= unix.MSG_MORE
	}
	n, _, errno := unix.Syscall(unix.SYS_SENDMSG, uintptr(c.fd), uintptr(unsafe.Pointer(msg)), uintptr(flags))
	clear(iov)
	msg.Iov = nil
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// hotRange returns up to limit bytes of the range from the mapping if they are in the
// page cache, else nil.
func (l *Loop) hotRange(it *outItem, limit int) []byte {
	n := min(it.n, limit)
	b := it.src.Bytes(it.off, n)
	if len(b) < n {
		return nil
	}
	if it.warm < n {
		if !l.resident(b) {
			return nil
		}
		it.warm = n
	}
	return b
}

// resident tells whether all pages of mapped memory are in the page cache.
func (l *Loop) resident(b []byte) bool {
	start := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	skew := start & uintptr(pageSize-1)
	pages := (int(skew) + len(b) + int(pageSize) - 1) / int(pageSize)
	if pages > len(l.pages) {
		l.pages = make([]byte, pages)
	}
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, start-skew, uintptr(len(b))+skew, uintptr(unsafe.Pointer(&l.pages[0])))
	if errno != 0 {
		return false
	}
	for _, p := range l.pages[:pages] {
		if p&1 == 0 {
			return false
		}
	}
	return true
}
