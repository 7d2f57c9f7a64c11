package main

import (
	"bytes"
	"math/rand/v2"
	"strconv"
)

// A message is JSON of a chosen size:
//
//	{"run":"rrrrrrrr","id":"pppp-nnnnnnnnnnnn","at":"ttttttttttttttttttt","user":… }
//
// run is random per run (hex), p the producer, n the message's number (decimal, from 0), t a
// Unix time in nanoseconds or zeros. What follows is text number n modulo poolCount(size) of
// a pool that depends on the size alone: anybody can make it again and compare.
const (
	front     = `{"run":"00000000","id":"0000-000000000000","at":"0000000000000000000",`
	runAt     = 8
	runLen    = 8
	senderAt  = 24
	senderLen = 4
	numberAt  = senderAt + senderLen + 1
	numberLen = 12
	timeAt    = numberAt + numberLen + 8
	timeLen   = 19
	frontLen  = timeAt + timeLen + 2

	minSize = 128
	maxSize = 1 << 20
	// maxNumber bounds what a ledger keeps a bit for.
	maxNumber = 1 << 31
)

// Pool bounds: large enough that texts repeat only at distances of a megabyte, beyond what
// one batch holds, so that batches do not compress better than real ones.
const (
	poolBytes    = 1 << 20
	maxPoolCount = 4096
	minPoolCount = 16
)

func poolCount(size int) int { return min(max(poolBytes/size, minPoolCount), maxPoolCount) }

// makePool writes poolCount messages of a size back to back, their fronts zero.
func makePool(size int) []byte {
	rnd := rand.New(rand.NewPCG(uint64(size), 0x7472696d71))
	count := poolCount(size)
	pool := make([]byte, 0, count*size)
	for i := range count {
		pool = append(pool, front...)
		pool = appendText(pool, (i+1)*size, rnd)
	}
	return pool
}

var words = []string{
	"order", "shipped", "invoice", "customer", "pending", "retry", "warehouse", "north", "gateway", "session",
	"expired", "blue", "account", "transfer", "lisbon", "sensor", "offset", "payment", "cancel", "review",
	"search", "login", "mobile", "basket", "discount", "sku", "region", "latency", "worker", "event",
}

// appendText fills up to length end with the rest of a JSON object.
func appendText(b []byte, end int, rnd *rand.Rand) []byte {
	b = append(b, `"user":"u`...)
	b = strconv.AppendUint(b, uint64(rnd.Uint32()), 16)
	b = append(b, `","amount":`...)
	b = strconv.AppendInt(b, int64(10+rnd.IntN(90000)), 10)
	b = append(b, `,"note":"`...)
	for end-len(b) > 2 {
		if rnd.IntN(3) == 0 {
			b = append(b, words[rnd.IntN(len(words))]...)
		} else {
			b = strconv.AppendUint(b, rnd.Uint64()>>rnd.IntN(40), 36)
		}
		b = append(b, ' ')
	}
	return append(b[:end-2], `"}`...)
}

// generator makes one producer's messages in place: next costs a few nanoseconds.
type generator struct {
	pool   []byte
	size   int
	count  int
	at     int // of the next text in pool
	number [numberLen]byte
	sent   uint64
}

func newGenerator(run uint32, producer, size int) *generator {
	g := &generator{pool: makePool(size), size: size, count: poolCount(size)}
	for i := range g.number {
		g.number[i] = '0'
	}
	for i := range g.count {
		m := g.pool[i*size:]
		putHex(m[runAt:runAt+runLen], run)
		putDecimal(m[senderAt:senderAt+senderLen], uint64(producer))
	}
	return g
}

// next gives the next message, with a time if it is not 0. It is valid until the pool has
// gone round; callers copy it at once.
func (g *generator) next(timeNS int64) []byte {
	m := g.pool[g.at : g.at+g.size : g.at+g.size]
	copy(m[numberAt:], g.number[:])
	if timeNS != 0 {
		putDecimal(m[timeAt:timeAt+timeLen], uint64(timeNS))
	}
	for i := numberLen - 1; ; i-- {
		if g.number[i]++; g.number[i] <= '9' {
			break
		}
		g.number[i] = '0'
	}
	g.sent++
	if g.at += g.size; g.at == len(g.pool) {
		g.at = 0
	}
	return m
}

func putDecimal(b []byte, v uint64) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = byte('0' + v%10)
		v /= 10
	}
}

func putHex(b []byte, v uint32) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = "0123456789abcdef"[v&15]
		v >>= 4
	}
}

// parseDecimal reads digits; false where another byte is among them.
func parseDecimal(b []byte) (uint64, bool) {
	var v uint64
	for _, c := range b {
		d := c - '0'
		if d > 9 {
			return 0, false
		}
		v = v*10 + uint64(d)
	}
	return v, true
}

// texts compares messages with the pools they were made from.
type texts struct {
	size  int
	count uint64
	pool  []byte
	pools map[int][]byte
}

// number checks a message and gives its number.
func (x *texts) number(m []byte) (uint64, bool) {
	if len(m) != x.size && !x.use(len(m)) {
		return 0, false
	}
	n, ok := parseDecimal(m[numberAt : numberAt+numberLen])
	if !ok || n >= maxNumber {
		return 0, false
	}
	want := x.pool[int(n%x.count)*x.size:][:x.size]
	return n, bytes.Equal(m[frontLen:], want[frontLen:]) &&
		string(m[:runAt]) == front[:runAt] &&
		string(m[runAt+runLen:senderAt]) == front[runAt+runLen:senderAt] &&
		m[numberAt-1] == '-' &&
		string(m[numberAt+numberLen:timeAt]) == front[numberAt+numberLen:timeAt] &&
		string(m[timeAt+timeLen:frontLen]) == front[timeAt+timeLen:]
}

// maxPools bounds how many sizes a consumer remembers.
const maxPools = 64

func (x *texts) use(size int) bool {
	if size < minSize || size > maxSize {
		return false
	}
	pool, ok := x.pools[size]
	if !ok {
		if x.pools == nil || len(x.pools) >= maxPools {
			x.pools = map[int][]byte{}
		}
		pool = makePool(size)
		x.pools[size] = pool
	}
	x.size, x.count, x.pool = size, uint64(poolCount(size)), pool
	return true
}

// timeOf is the time that a sound message carries, 0 if it carries none.
func timeOf(m []byte) int64 {
	v, _ := parseDecimal(m[timeAt : timeAt+timeLen])
	return int64(v)
}
