package server

import (
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trimq/trimq/shmqueue"
	"github.com/trimq/trimq/shmqueue/tier"
)

// A client of Kafka is served at its own address, beside native ones.
func TestKafkaListener(t *testing.T) {
	b := start(t, func(c *tier.Config) { c.KafkaListen = "127.0.0.1:0" })
	if b.KafkaPort() == 0 || b.KafkaPort() == b.Port() {
		t.Fatalf("ports %d and %d", b.KafkaPort(), b.Port())
	}
	askVersions(t, b)
	b.connect() // a native client
}

// askVersions connects to the Kafka front end and asks what it serves.
func askVersions(t *testing.T, b *broker) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", b.KafkaPort()))
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	must(t, conn.SetDeadline(time.Now().Add(60*time.Second)))
	// ApiVersions of version 0, without a client id.
	_, err = conn.Write([]byte{0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 77, 0xff, 0xff})
	must(t, err)
	head := make([]byte, 10)
	_, err = io.ReadFull(conn, head)
	must(t, err)
	if correlation, code := binary.BigEndian.Uint32(head[4:]), binary.BigEndian.Uint16(head[8:]); correlation != 77 || code != 0 {
		t.Errorf("correlation %d, code %d", correlation, code)
	}
	return conn
}

// A hand-over ends Kafka's connections, and no others; whoever connects again is served.
func TestKafkaAndAHandOver(t *testing.T) {
	b := start(t, func(c *tier.Config) { c.KafkaListen = "127.0.0.1:0" })
	kafka, native := askVersions(t, b), b.connect()
	b.handOver()
	if _, err := io.Copy(io.Discard, kafka); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Error(err)
	}
	native.produce(1, makeBatch(1, 1))
	askVersions(t, b)
	if closed := b.counter(shmqueue.ConnClosedHandOver); closed != 1 {
		t.Errorf("%d connections closed", closed)
	}
}

// Where native clients must know a secret, there is no way around it.
func TestKafkaAndASecret(t *testing.T) {
	dir := t.TempDir()
	c := tier.Default()
	c.DataDir, c.RunDir, c.LogDir, c.Listen, c.KafkaListen = dir, dir, dir, "127.0.0.1:0", "127.0.0.1:0"
	c.RingRequestBytes, c.RingResponseBytes, c.MaxFrameBytes = 4<<20, 1<<20, 512<<10
	c.AuthSecretFile = filepath.Join(dir, "secret")
	must(t, os.WriteFile(c.AuthSecretFile, []byte("secret\n"), 0o600))
	requests, _ := heapRing(t, uint64(c.RingRequestBytes))
	responses, _ := heapRing(t, uint64(c.RingResponseBytes))
	_, err := New(Options{Config: c, Requests: requests, Responses: responses, Metrics: shmqueue.HeapMetrics(), Log: slog.New(slog.DiscardHandler), Cluster: "test"})
	if err == nil || !strings.Contains(err.Error(), "kafka_listen") {
		t.Errorf("started: %v", err)
	}
}
