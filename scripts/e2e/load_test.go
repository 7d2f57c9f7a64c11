package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trimq/trimq/clients/trimq"
	"github.com/trimq/trimq/scripts/broker"
)

// lostHandler counts the client's warnings: connections that were lost.
type lostHandler struct {
	mu sync.Mutex
	n  *int
}

func countLost(n *int) *slog.Logger { return slog.New(&lostHandler{n: n}) }

func (h *lostHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }
func (h *lostHandler) WithAttrs([]slog.Attr) slog.Handler           { return h }
func (h *lostHandler) WithGroup(string) slog.Handler                { return h }
func (h *lostHandler) Handle(context.Context, slog.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	*h.n++
	return nil
}

// TestKillsUnderLoad: 1,000 connections, 50,000 messages a second, and kills of logicsrv and
// persistsrv. No connection is closed, everything acknowledged is there, once and in order.
// The longest pause is logged.
func TestKillsUnderLoad(t *testing.T) {
	const (
		producers, rate, seconds = 20, 50_000, 8
		idle                     = 1000 - producers
		perProducer              = rate / producers
	)
	b := started(t, nil)
	admin := dial(t, b)
	if _, err := admin.CreateTopic(testContext(t), trimq.TopicSpec{Name: "load", Partitions: producers, Level: trimq.LevelDisk}); err != nil {
		t.Fatal(err)
	}
	var lost, acked, longest atomic.Int64
	conns := holdConnections(t, b, idle, &lost)
	defer conns()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	on, off := context.WithTimeout(ctx, seconds*time.Second)
	defer off()
	var wg sync.WaitGroup
	sent := make([]int, producers)
	for p := range producers {
		n := 0
		c := dial(t, b, trimq.WithLogger(countLost(&n)))
		wg.Add(1)
		go func() {
			defer wg.Done()
			sent[p] = produceAtRate(ctx, on, t, c, uint32(p), perProducer, &acked, &longest)
			lost.Add(int64(n))
		}()
	}
	for i, victim := range []string{"logicsrv", "persistsrv", "logicsrv", "persistsrv"} {
		time.Sleep(seconds * time.Second / 6)
		before := longest.Swap(0)
		if err := b.Kill(victim); err != nil {
			t.Error(err)
		}
		time.Sleep(seconds * time.Second / 12)
		t.Logf("kill %d: %s: longest pause %v (before: %v)", i, victim, time.Duration(longest.Load()), time.Duration(before))
	}
	wg.Wait()
	total := 0
	for _, n := range sent {
		total += n
	}
	if int(acked.Load()) != total {
		t.Errorf("%d sent, %d acknowledged", total, acked.Load())
	}
	verifyPartitions(t, admin, sent)
	if lost.Load() != 0 {
		t.Errorf("%d connections were lost", lost.Load())
	}
	t.Logf("%d messages acknowledged in %d s over %d connections", total, seconds, idle+producers)
}

// holdConnections opens connections that say HELLO-less nothing but are read: a close by the
// broker is counted. The returned function ends them.
func holdConnections(t *testing.T, b *broker.Broker, n int, lost *atomic.Int64) func() {
	t.Helper()
	var clients []*trimq.Client
	var counters []*int
	for range n {
		k := 0
		c, err := trimq.Dial(testContext(t), []string{b.Addr}, trimq.WithLogger(countLost(&k)))
		if err != nil {
			t.Fatal(err)
		}
		clients, counters = append(clients, c), append(counters, &k)
	}
	return func() {
		for i, c := range clients {
			if _, err := c.Ping(testContext(t)); err != nil {
				t.Errorf("connection %d at the end: %v", i, err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			_ = c.Close(ctx)
			cancel()
			lost.Add(int64(*counters[i]))
		}
	}
}

// produceAtRate sends numbered messages to one partition until on ends, and notes the longest time
// between two acknowledgements.
func produceAtRate(ctx, on context.Context, t *testing.T, c *trimq.Client, partition uint32, perSecond int, acked, longest *atomic.Int64) int {
	p, err := c.NewProducer(trimq.WithLinger(2 * time.Millisecond))
	if err != nil {
		t.Error(err)
		return 0
	}
	var last atomic.Int64
	last.Store(time.Now().UnixNano())
	done := func(_ trimq.Result, err error) {
		if err != nil {
			t.Error(err)
			return
		}
		acked.Add(1)
		now := time.Now().UnixNano()
		if gap := now - last.Swap(now); gap > longest.Load() {
			longest.Store(gap)
		}
	}
	n := 0
	for began := time.Now(); on.Err() == nil; time.Sleep(5 * time.Millisecond) {
		for due := int(time.Since(began).Seconds() * float64(perSecond)); n < due; n++ {
			m := trimq.Message{Topic: "load", Partition: trimq.ToPartition(partition), Value: value(n)}
			if err := p.Produce(ctx, &m, done); err != nil {
				t.Error(err)
				return n
			}
		}
	}
	if err := p.Close(ctx); err != nil {
		t.Error(err)
	}
	return n
}

// verifyPartitions wants exactly [0, sent[p]) in partition p, in order.
func verifyPartitions(t *testing.T, c *trimq.Client, sent []int) {
	t.Helper()
	ctx := testContext(t)
	consumer, err := c.NewConsumer(ctx, []string{"load"})
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close(ctx)
	next, left := make([]int, len(sent)), 0
	for _, n := range sent {
		left += n
	}
	for left > 0 {
		f, err := consumer.Poll(ctx)
		if err != nil {
			t.Fatalf("%d messages missing: %v", left, err)
		}
		for _, r := range f.Records {
			if string(r.Value) != string(value(next[f.Partition])) {
				t.Fatalf("partition %d offset %d: %q, want %q", f.Partition, r.Offset, r.Value, value(next[f.Partition]))
			}
			next[f.Partition]++
			left--
		}
		f.Release()
	}
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if f, err := consumer.Poll(short); err == nil {
		t.Fatalf("partition %d: %d messages too many", f.Partition, len(f.Records))
	}
}

// TestIdleConnections: what 1,000 idle connections cost. Memory is asserted; processor time
// is logged.
func TestIdleConnections(t *testing.T) {
	const n = 1000
	b := started(t, nil)
	s, err := b.States()
	if err != nil {
		t.Fatal(err)
	}
	pid := s["connsrv"].PID
	freeMemory(t, b)
	before := residentBytes(t, pid)
	var lost atomic.Int64
	end := holdConnections(t, b, n, &lost)
	freeMemory(t, b)
	each := (residentBytes(t, pid) - before) / n
	ticks := map[string]int{}
	for name, st := range s {
		ticks[name] = cpuTicks(t, st.PID)
	}
	const watch = 5 * time.Second
	time.Sleep(watch)
	for name, st := range s {
		used := float64(cpuTicks(t, st.PID)-ticks[name]) / 100 / watch.Seconds()
		t.Logf("%s: %.2f %% of a core with %d idle connections", name, 100*used, n)
	}
	t.Logf("%d bytes of connsrv's memory for each idle connection", each)
	if each > 8<<10 {
		t.Errorf("%d bytes for an idle connection; the limit is 8 KiB", each)
	}
	end()
	if lost.Load() != 0 {
		t.Errorf("%d connections were lost", lost.Load())
	}
}

// freeMemory makes connsrv give back what it does not use: its heap profile collects first.
func freeMemory(t *testing.T, b *broker.Broker) {
	t.Helper()
	resp, err := http.Get("http://" + b.Admin + "/debug/pprof/heap?gc=1")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	time.Sleep(100 * time.Millisecond)
}

func residentBytes(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range strings.Split(string(status), "\n") {
		var kib int64
		if _, err := fmt.Sscanf(l, "RssAnon: %d kB", &kib); err == nil {
			return kib << 10
		}
	}
	t.Fatal("no RssAnon in /proc")
	return 0
}

func cpuTicks(t *testing.T, pid int) int {
	t.Helper()
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	f := strings.Fields(rest)
	user, err1 := strconv.Atoi(f[11])
	system, err2 := strconv.Atoi(f[12])
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	return user + system
}

// slowest: a client that never reads must not hold up others, nor lose them anything.
func TestSlowReaderHarmsNobody(t *testing.T) {
	b := started(t, map[string]string{"slow_reader_timeout_ms": "2000", "connection_memory_bytes": "\"256Ki\""})
	c := dial(t, b)
	topicOf(t, c, "t", trimq.LevelPage)
	send(t, c, "t", 0, 20000)
	stuck := dial(t, b, trimq.WithDialer(func(ctx context.Context, addr string) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", addr)
		return &deafConn{Conn: conn}, err
	}), trimq.WithAnswerTimeout(time.Hour))
	consumer, err := stuck.NewConsumer(testContext(t), []string{"t"})
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
		_, _ = consumer.Poll(ctx)
		cancel()
	}
	send(t, c, "t", 20000, 40000)
	expect(t, c, "t", 40000)
}

// deafConn reads its first KiB and then nothing any more.
type deafConn struct {
	net.Conn
	read int
}

func (c *deafConn) Read(b []byte) (int, error) {
	if c.read > 1<<10 {
		time.Sleep(100 * time.Millisecond)
		return 0, os.ErrDeadlineExceeded
	}
	n, err := c.Conn.Read(b[:min(len(b), 256)])
	c.read += n
	return n, err
}
