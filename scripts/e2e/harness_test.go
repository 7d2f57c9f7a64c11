package e2e

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trimq/trimq/clients/trimq"
	"github.com/trimq/trimq/scripts/broker"
)

// patience bounds every wait; no healthy run comes near it.
const patience = 60 * time.Second

// prepare makes a broker that is not started, and cleans up behind it.
func prepare(t *testing.T, settings map[string]string) *broker.Broker {
	t.Helper()
	b, err := broker.New(t.TempDir(), settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(b.Logs())
		}
		if err := b.Cleanup(); err != nil {
			t.Error(err)
		}
		if left := b.Left(); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
	return b
}

// started is a broker that serves.
func started(t *testing.T, settings map[string]string) *broker.Broker {
	t.Helper()
	b := prepare(t, settings)
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	return b
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func dial(t *testing.T, b *broker.Broker, opts ...trimq.Option) *trimq.Client {
	t.Helper()
	c, err := trimq.Dial(testContext(t), []string{b.Addr}, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = c.Close(ctx)
	})
	return c
}

// eventually waits for something that must come to pass.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}

// topicOf makes a topic with one partition.
func topicOf(t *testing.T, c *trimq.Client, name string, level trimq.Level) {
	t.Helper()
	if _, err := c.CreateTopic(testContext(t), trimq.TopicSpec{Name: name, Partitions: 1, Level: level}); err != nil {
		t.Fatal(err)
	}
}

// send produces values numbered [from, to) and waits for their acknowledgements.
func send(t *testing.T, c *trimq.Client, topic string, from, to int) {
	t.Helper()
	ctx := testContext(t)
	p, err := c.NewProducer()
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	for i := from; i < to; i++ {
		err := p.Produce(ctx, &trimq.Message{Topic: topic, Value: value(i)}, func(_ trimq.Result, err error) {
			if err != nil {
				select {
				case failed <- err:
				default:
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-failed:
		t.Fatal(err)
	default:
	}
}

func value(i int) []byte { return fmt.Appendf(nil, "message %d", i) }

// expect reads the topic from its start and wants exactly the values [0, n), in order.
func expect(t *testing.T, c *trimq.Client, topic string, n int) {
	t.Helper()
	ctx := testContext(t)
	consumer, err := c.NewConsumer(ctx, []string{topic})
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close(ctx)
	next := 0
	for next < n {
		f, err := consumer.Poll(ctx)
		if err != nil {
			t.Fatalf("at message %d of %d: %v", next, n, err)
		}
		for _, r := range f.Records {
			if string(r.Value) != string(value(next)) || r.Offset != uint64(next) {
				t.Fatalf("offset %d holds %q, want %q", r.Offset, r.Value, value(next))
			}
			next++
		}
		f.Release()
	}
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if f, err := consumer.Poll(short); err == nil {
		t.Fatalf("%d messages too many, the first %q", len(f.Records), f.Records[0].Value)
	}
}

// raw is a plain socket to the broker, for clients that misbehave.
func raw(t *testing.T, b *broker.Broker) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", b.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

// readFrame reads one native frame: command, flags, body.
func readFrame(c io.Reader) (command, flags uint16, body []byte, err error) {
	var h [16]byte
	if _, err = io.ReadFull(c, h[:]); err != nil {
		return
	}
	n := binary.LittleEndian.Uint32(h[:])
	if n < 12 || n > 1<<20 {
		return 0, 0, nil, fmt.Errorf("frame length %d", n)
	}
	body = make([]byte, n-12)
	_, err = io.ReadFull(c, body)
	return binary.LittleEndian.Uint16(h[4:]), binary.LittleEndian.Uint16(h[6:]), body, err
}

// fileContains tells whether a file has a text in it.
func fileContains(path, text string) bool {
	b, err := os.ReadFile(path)
	return err == nil && strings.Contains(string(b), text)
}

func logOf(b *broker.Broker, tier string) string { return filepath.Join(b.Config.LogDir, tier+".log") }
