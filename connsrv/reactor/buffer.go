package reactor

import "math/bits"

// Buffer classes: powers of two from 4 KiB to 16 MiB.
const (
	minClass = 12
	maxClass = 24
)

// pool keeps buffers of a loop for reuse. Connections hold them only while bytes wait in
// them. Not safe for concurrent use: each loop has its own.
type pool struct {
	free [maxClass + 1][][]byte
}

// poolKeepBytes is how much memory each class may keep.
const poolKeepBytes = 4 << 20

func classOf(n int) int {
	return max(minClass, bits.Len(uint(n-1)))
}

// get returns a buffer of n bytes or more, with length equal to its capacity.
func (p *pool) get(n int) []byte {
	c := classOf(n)
	if c > maxClass {
		return make([]byte, n)
	}
	if l := len(p.free[c]); l > 0 {
		b := p.free[c][l-1]
		p.free[c][l-1] = nil
		p.free[c] = p.free[c][:l-1]
		return b
	}
	return make([]byte, 1<<c)
}

// put takes a buffer back. REQUIRES: b has come from get, at its full capacity.
func (p *pool) put(b []byte) {
	b = b[:cap(b)]
	c := bits.Len(uint(len(b))) - 1
	if c < minClass || c > maxClass || len(b) != 1<<c || (len(p.free[c])+1)<<c > poolKeepBytes {
		return
	}
	p.free[c] = append(p.free[c], b)
}

// inBuffer holds bytes that were read and not consumed. Empty, it holds no memory.
type inBuffer struct {
	b    []byte // from the pool, or nil
	r, w int    // the bytes are b[r:w]. Invariant: 0 <= r <= w <= len(b)
}

func (in *inBuffer) len() int      { return in.w - in.r }
func (in *inBuffer) bytes() []byte { return in.b[in.r:in.w] }

// room returns free memory behind the bytes, at least n bytes of it.
func (in *inBuffer) room(p *pool, n int) []byte {
	if len(in.b)-in.w >= n {
		return in.b[in.w:]
	}
	if need := in.len() + n; need > len(in.b) {
		b := p.get(need)
		in.w = copy(b, in.bytes())
		if in.b != nil {
			p.put(in.b)
		}
		in.b, in.r = b, 0
	} else {
		in.w = copy(in.b, in.bytes())
		in.r = 0
	}
	return in.b[in.w:]
}

// keep makes the bytes exactly rest, which lies in the buffer itself (at its end) or
// elsewhere.
func (in *inBuffer) keep(p *pool, rest []byte, own bool) {
	switch {
	case len(rest) == 0:
		in.release(p)
	case own:
		in.r = in.w - len(rest)
	default:
		in.w += copy(in.room(p, len(rest)), rest)
	}
}

func (in *inBuffer) release(p *pool) {
	if in.b != nil {
		p.put(in.b)
	}
	*in = inBuffer{}
}
