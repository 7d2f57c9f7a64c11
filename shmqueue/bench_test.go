package shmqueue

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The benchmarks run across two processes: this one produces, a child consumes.
//
//	go test -run '^$' -bench . -benchtime 2s ./shmqueue
//
// BenchmarkRing names record size, single or batched claims, and producing threads; ns/op is
// per record, until the consumer has released the last one. BenchmarkWake is the way there and
// back through two bells; its ns/op is half of that: one wake-up.

const (
	benchCapacity = 8 << 20 // a larger one measures the memory behind the caches
	benchBatch    = 32
	benchSpins    = 2000
)

// benchConsumer is a child that drains the ring until its stdin is closed.
func benchConsumer(args []string) int {
	s, err := joinRing(args[0])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	c, err := s.Ring().Consumer()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	go exitWithParent()
	runtime.LockOSThread()
	fmt.Println("ready")
	bell := s.Ring().Bell()
	idle := func() bool { return !c.Ready() }
	for spins := 0; ; {
		n := 0
		for n < 256 {
			rec, ok := c.Next()
			if !ok {
				break
			}
			benchSink += uint64(rec.Type)
			n++
		}
		if n > 0 {
			c.Release(c.Read())
			spins = 0
			continue
		}
		if c.Err() != nil {
			fmt.Fprintln(os.Stderr, c.Err())
			return 1
		}
		if spins++; spins > benchSpins {
			bell.Sleep(idle, 0)
			spins = 0
		}
	}
}

var benchSink uint64

// exitWithParent ends a child whose parent has closed its stdin or died.
func exitWithParent() {
	var b [1]byte
	_, _ = os.Stdin.Read(b[:])
	os.Exit(0)
}

func BenchmarkRing(b *testing.B) {
	for _, size := range []int{64, 4 << 10, 64 << 10} {
		for _, batch := range []int{1, benchBatch} {
			for _, threads := range []int{1, 4} {
				name := fmt.Sprintf("%dB/single/threads=%d", size, threads)
				if batch > 1 {
					name = fmt.Sprintf("%dB/batch=%d/threads=%d", size, batch, threads)
				}
				b.Run(name, func(b *testing.B) { benchRing(b, size, batch, threads) })
			}
		}
	}
}

func benchRing(b *testing.B, size, batch, threads int) {
	s, r := sysvRing(b, benchCapacity)
	c := spawn(b, self(b), "bench-consumer", nil, strconv.Itoa(s.Key()))
	if !c.out.Scan() {
		b.Fatal("the consumer did not start")
	}
	p, err := r.Producer()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for i := range threads {
		share := b.N / threads
		if i == 0 {
			share += b.N % threads
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			produce(b, r, p, size, batch, share)
		}()
	}
	wg.Wait()
	for r.Head() != r.Tail() {
		yield()
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "M/s")
}

// produce puts n records of one thread into the ring.
func produce(b *testing.B, r *Ring, p *Producer, size, batch, n int) {
	payload := make([]byte, size)
	messages := make([]Message, batch)
	for i := range messages {
		messages[i] = Message{Type: 1, Payload: payload}
	}
	bell := r.Bell()
	for n > 0 {
		var err error
		put := 0
		if batch == 1 {
			var s Slot
			if s, err = p.Claim(size, 1, 0); err == nil {
				copy(s.Payload, payload)
				s.Publish()
				put = 1
			}
		} else {
			put, err = p.PutBatch(messages[:min(batch, n)])
		}
		n -= put
		bell.Ring()
		if errors.Is(err, ErrFull) {
			yield()
		} else if err != nil {
			b.Error(err)
			return
		}
	}
}

// yield gives the processor to whoever wants it.
func yield() { _, _, _ = unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }

// BenchmarkHeap is the same way within one process and one thread: what the code itself costs,
// without the caches' traffic between cores.
func BenchmarkHeap(b *testing.B) {
	for _, batch := range []int{1, benchBatch} {
		b.Run(fmt.Sprintf("64B/batch=%d", batch), func(b *testing.B) {
			r := heapRing(b, 1<<20, 1)
			p, c := ends(b, r)
			payload := make([]byte, 64)
			messages := make([]Message, batch)
			for i := range messages {
				messages[i] = Message{Type: 1, Payload: payload}
			}
			b.ReportAllocs()
			for n := 0; n < b.N; {
				for range 256 / batch {
					if batch == 1 {
						s, err := p.Claim(64, 1, 0)
						if err != nil {
							b.Fatal(err)
						}
						copy(s.Payload, payload)
						s.Publish()
						continue
					}
					if _, err := p.PutBatch(messages); err != nil {
						b.Fatal(err)
					}
				}
				for {
					rec, ok := c.Next()
					if !ok {
						break
					}
					benchSink += uint64(rec.Type)
					n++
				}
				c.Release(c.Read())
			}
		})
	}
}

// benchEcho is a child that answers every record with one on a second ring.
func benchEcho(args []string) int {
	there, err := joinRing(args[0])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	back, err := joinRing(args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	c, err := there.Ring().Consumer()
	if err != nil {
		return 1
	}
	p, err := back.Ring().Producer()
	if err != nil {
		return 1
	}
	go exitWithParent()
	runtime.LockOSThread()
	fmt.Println("ready")
	for {
		rec := awaitRecord(there.Ring(), c)
		if _, err := p.Put(rec.Type, 0, rec.Payload); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		c.Release(c.Read())
		back.Ring().Bell().Ring()
	}
}

// awaitRecord sleeps until there is a record.
func awaitRecord(r *Ring, c *Consumer) Record {
	for {
		if rec, ok := c.Next(); ok {
			return rec
		}
		r.Bell().Sleep(func() bool { return !c.Ready() }, time.Second)
	}
}

func BenchmarkWake(b *testing.B) {
	there, _ := sysvRing(b, 1<<20)
	back, _ := sysvRing(b, 1<<20)
	echo := spawn(b, self(b), "bench-echo", nil, strconv.Itoa(there.Key()), strconv.Itoa(back.Key()))
	if !echo.out.Scan() {
		b.Fatal("the echo did not start")
	}
	p, err := there.Ring().Producer()
	if err != nil {
		b.Fatal(err)
	}
	c, err := back.Ring().Consumer()
	if err != nil {
		b.Fatal(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	payload := make([]byte, 64)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if _, err := p.Put(1, 0, payload); err != nil {
			b.Fatal(err)
		}
		there.Ring().Bell().Ring()
		awaitRecord(back.Ring(), c)
		c.Release(c.Read())
	}
	b.StopTimer()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/2, "ns/wake")
}
