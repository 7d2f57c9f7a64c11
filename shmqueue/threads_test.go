package shmqueue

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"testing"
)

// Many producing threads: on heap memory, where the race detector sees everything, and on a
// segment between two processes, where it sees nothing and the processors are on their own.

func init() { roles["threads-producer"] = threadsProducer }

const producingThreads = 4

// threadRecord is record number seq of a thread.
func threadRecord(thread int, seq uint64) []byte {
	return testPayload(uint64(thread)<<48|seq, 8+int(seq*7)%150)
}

// produceThread puts count records of one thread, by all ways in turn. Their type is the
// producer's epoch, their flags the thread.
func produceThread(r *Ring, p *Producer, thread int, count uint64) error {
	for seq := uint64(0); seq < count; {
		n, err := putThread(p, thread, seq, count)
		seq += uint64(n)
		r.Bell().Ring()
		if errors.Is(err, ErrFull) {
			runtime.Gosched()
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func putThread(p *Producer, thread int, seq, count uint64) (int, error) {
	life := uint16(p.Epoch())
	switch seq % 5 {
	case 0:
		payload := threadRecord(thread, seq)
		s, err := p.Claim(len(payload), life, uint16(thread))
		if err != nil {
			return 0, err
		}
		copy(s.Payload, payload)
		s.Publish()
		return 1, nil
	case 1:
		if s, err := p.Claim(33, life, uint16(thread)); err == nil {
			s.Discard()
		}
		fallthrough
	case 2:
		_, err := p.Put(life, uint16(thread), threadRecord(thread, seq))
		if err != nil {
			return 0, err
		}
		return 1, nil
	default:
		var messages []Message
		for i := seq; i < min(seq+5, count); i++ {
			messages = append(messages, Message{Type: life, Flags: uint16(thread), Payload: threadRecord(thread, i)})
		}
		return p.PutBatch(messages)
	}
}

// threadOrder checks what a consumer sees: each thread's records in order, none twice, none
// left out, in each life of the producing process.
type threadOrder struct {
	life uint16
	next [producingThreads]uint64
}

func (o *threadOrder) see(rec Record) error {
	thread := int(rec.Flags)
	if thread >= producingThreads || rec.Type < o.life {
		return fmt.Errorf("record of thread %d, life %d, in life %d", thread, rec.Type, o.life)
	}
	if rec.Type > o.life {
		*o = threadOrder{life: rec.Type}
	}
	id, err := testSeq(rec.Payload)
	if err != nil {
		return err
	}
	if want := uint64(thread)<<48 | o.next[thread]; id != want {
		return fmt.Errorf("life %d, thread %d: record %#x where %#x belongs", o.life, thread, id, want)
	}
	o.next[thread]++
	return nil
}

func (o *threadOrder) total() (n uint64) {
	for _, next := range o.next {
		n += next
	}
	return n
}

// consumeThreads reads until it has seen total records, sleeping on the bell in between.
func consumeThreads(r *Ring, c *Consumer, total uint64) error {
	var order threadOrder
	for n := 0; order.total() < total; n++ {
		rec, ok := c.Next()
		if !ok {
			if c.Err() != nil {
				return c.Err()
			}
			c.Release(c.Read())
			r.Bell().Sleep(func() bool { return !c.Ready() }, 0)
			continue
		}
		if err := order.see(rec); err != nil {
			return err
		}
		if n%7 == 0 {
			c.Release(rec.End)
		}
	}
	c.Release(c.Read())
	return nil
}

func TestThreadsOnHeap(t *testing.T) {
	const count = 20000
	r := heapRing(t, 4096, 99)
	p, c := ends(t, r)
	consumed := make(chan error, 1)
	go func() { consumed <- consumeThreads(r, c, producingThreads*count) }()
	var wg sync.WaitGroup
	for thread := range producingThreads {
		wg.Go(func() {
			if err := produceThread(r, p, thread, count); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := <-consumed; err != nil {
		t.Fatal(err)
	}
	s := r.Snapshot()
	if s.Head != s.Tail || s.Records != producingThreads*count {
		t.Fatalf("left: %+v", s)
	}
}

// threadsProducer: KEY LOCK COUNT. Takes the writing end over and produces with all threads.
func threadsProducer(args []string) int {
	if err := lockFile(args[1]); err != nil {
		return complain(err)
	}
	s, err := joinRing(args[0])
	if err != nil {
		return complain(err)
	}
	count, err := strconv.ParseUint(args[2], 10, 63)
	if err != nil {
		return complain(err)
	}
	p, err := s.Ring().Producer()
	if err != nil {
		return complain(err)
	}
	failed := make(chan error, producingThreads)
	for thread := range producingThreads {
		go func() { failed <- produceThread(s.Ring(), p, thread, count) }()
	}
	for range producingThreads {
		if err := <-failed; err != nil {
			return complain(err)
		}
	}
	fmt.Println("end")
	return 0
}

func TestThreadsAcrossProcesses(t *testing.T) {
	const count = 50000
	s, r := sysvRing(t, 16384)
	c, err := r.Consumer()
	if err != nil {
		t.Fatal(err)
	}
	producer := spawn(t, self(t), "threads-producer", nil, strconv.Itoa(s.Key()), filepath.Join(t.TempDir(), "lock"), strconv.Itoa(count))
	if err := consumeThreads(r, c, producingThreads*count); err != nil {
		t.Fatal(err)
	}
	producer.finish(t)
	if r.Head() != r.Tail() {
		t.Fatalf("left: head %d, tail %d", r.Head(), r.Tail())
	}
}

// TestThreadsKilled kills a producing process with four threads again and again, at whatever
// instruction they are, while the consumer goes on reading.
func TestThreadsKilled(t *testing.T) {
	const lives = 40
	s, r := sysvRing(t, 8192)
	c, err := r.Consumer()
	if err != nil {
		t.Fatal(err)
	}
	lock := filepath.Join(t.TempDir(), "lock")
	start := func() *child {
		return spawn(t, self(t), "threads-producer", nil, strconv.Itoa(s.Key()), lock, "1000000000")
	}
	seen := uint64(0)
	var order threadOrder
	producer := start()
	for life := uint16(1); life <= lives; life++ {
		// Until this life has come through: a claim of the dead must not stop it.
		for order.life < life || order.total() < uint64(life)*97%3000 {
			readAll(t, c, &order)
		}
		successor := start() // waits for the lock
		killed := make(chan error, 1)
		go func() { killed <- producer.cmd.Process.Kill() }()
		for dead := false; !dead; {
			readAll(t, c, &order)
			select {
			case err := <-killed:
				if err != nil {
					t.Fatal(err)
				}
				dead = true
			default:
			}
		}
		producer = successor // the dead one is reaped when the test ends
		seen += order.total()
	}
	snapshot := r.Snapshot()
	t.Logf("%d records in %d lives, %d cuts of %d bytes", seen, lives, snapshot.Cuts, snapshot.CutBytes)
}

// readAll reads and releases what is there now.
func readAll(t *testing.T, c *Consumer, order *threadOrder) {
	t.Helper()
	for {
		rec, ok := c.Next()
		if !ok {
			break
		}
		if err := order.see(rec); err != nil {
			t.Fatal(err)
		}
	}
	if c.Err() != nil {
		t.Fatal(c.Err())
	}
	c.Release(c.Read())
}
