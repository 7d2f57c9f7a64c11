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
	_, err = conn.Write(versionsRequest)
	must(t, err)
	readVersions(t, conn)
	return conn
}

// versionsRequest is ApiVersions of version 0, without a client id.
var versionsRequest = []byte{0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 77, 0xff, 0xff}

// readVersions reads the answer.
func readVersions(t *testing.T, conn net.Conn) {
	t.Helper()
	head := make([]byte, 10)
	_, err := io.ReadFull(conn, head)
	must(t, err)
	if correlation, code := binary.BigEndian.Uint32(head[4:]), binary.BigEndian.Uint16(head[8:]); correlation != 77 || code != 0 {
		t.Errorf("correlation %d, code %d", correlation, code)
	}
	_, err = io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(head))-6)
	must(t, err)
}

// A hand-over keeps Kafka's connections, and the address, as it does those of the native protocol;
// a request of which a part has come goes on.
func TestKafkaAndAHandOver(t *testing.T) {
	b := start(t, func(c *tier.Config) { c.KafkaListen, c.EventLoops = "127.0.0.1:0", 2 })
	kafka, native, port := askVersions(t, b), b.connect(), b.KafkaPort()
	for range 3 {
		_, err := kafka.Write(versionsRequest[:7])
		must(t, err)
		b.handOver()
		_, err = kafka.Write(versionsRequest[7:])
		must(t, err)
		readVersions(t, kafka)
		native.produce(1, makeBatch(1, 1))
		askVersions(t, b)
	}
	if closed := b.counter(shmqueue.ConnClosedHandOver); closed != 0 || b.KafkaPort() != port {
		t.Errorf("%d connections closed, from port %d to %d", closed, port, b.KafkaPort())
	}
}

// A hand-over to a program that is configured otherwise ends the connections of a protocol that is
// not served any longer, serves one that was not, and ends no others.
func TestHandOverOfAProtocolThatIsGone(t *testing.T) {
	b := start(t, func(c *tier.Config) { c.KafkaListen = "127.0.0.1:0" })
	kafka, native, port := askVersions(t, b), b.connect(), b.KafkaPort()
	with, without := *b.config, *b.config
	without.KafkaListen = ""
	b.options.Config = &without
	b.handOver()
	if _, err := io.Copy(io.Discard, kafka); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Error(err)
	}
	if conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
		conn.Close()
		t.Error("the address is listened on still")
	}
	if closed := b.counter(shmqueue.ConnClosedHandOver); closed != 1 || b.KafkaPort() != 0 {
		t.Errorf("%d connections closed, port %d", closed, b.KafkaPort())
	}
	b.options.Config = &with
	b.handOver()
	askVersions(t, b)
	native.produce(1, makeBatch(1, 1))
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
