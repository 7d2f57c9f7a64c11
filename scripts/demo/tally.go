package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"sync"
)

// tally is the digest of a sequence of messages.
type tally struct {
	mu    sync.Mutex
	sum   hash.Hash
	count int
	bytes int64
}

func newTally() *tally { return &tally{sum: sha256.New()} }

// add counts a message. Its length goes into the digest too, so that messages cannot
// trade bytes with each other.
func (t *tally) add(value []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.sum, "%d\n", len(value))
	t.sum.Write(value)
	t.count++
	t.bytes += int64(len(value))
}

func (t *tally) messages() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.count
}

func (t *tally) digest() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return hex.EncodeToString(t.sum.Sum(nil))
}

// way is one way through the broker: a partition or a queue.
type way struct {
	name     string
	in, out  *tally
	complete chan struct{} // closed when all that went in is known
}

func newWay(name string) *way {
	return &way{name, newTally(), newTally(), make(chan struct{})}
}

// done tells whether as many messages came out as will ever go in.
func (w *way) done() bool {
	select {
	case <-w.complete:
		return w.out.messages() >= w.in.messages()
	default:
		return false
	}
}

// report writes a line for each way and tells whether all are equal.
func report(out io.Writer, ways []*way) bool {
	equal := true
	fmt.Fprintf(out, "\n%-14s %10s %10s  %-16s %-16s\n", "", "sent", "received", "SHA-256 sent", "SHA-256 received")
	for _, w := range ways {
		verdict := "equal"
		if w.in.digest() != w.out.digest() || w.in.messages() != w.out.messages() {
			verdict, equal = "DIFFERENT", false
		}
		fmt.Fprintf(out, "%-14s %10d %10d  %.16s %.16s  %s\n", w.name, w.in.messages(), w.out.messages(), w.in.digest(), w.out.digest(), verdict)
	}
	return equal
}
