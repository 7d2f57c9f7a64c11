package e2e

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trimq/trimq/scripts/broker"
)

// RabbitMQ's Java client. `make amqp-clients` brings its archives into bin/, by testdata/amqp/java/java.xml.

// amqpJava is a command that runs a program of testdata/amqp/java.
func amqpJava(t *testing.T, program string, args ...string) *exec.Cmd {
	t.Helper()
	root, err := broker.Root()
	if err != nil {
		t.Fatal(err)
	}
	archives := filepath.Join(root, "bin", "amqp-clients", "java")
	if _, err := os.Stat(archives); err != nil {
		t.Skip("RabbitMQ's Java client is not there: `make amqp-clients` brings it")
	}
	java, err := exec.LookPath("java")
	if err != nil {
		t.Skip("there is no java")
	}
	all := append([]string{"-cp", filepath.Join(archives, "*"), filepath.Join("testdata", "amqp", "java", program)}, args...)
	return exec.CommandContext(testContext(t), java, all...)
}

func TestAMQPJava(t *testing.T) {
	t.Parallel()
	cmd := amqpJava(t, "Client.java", "")
	_, url := amqpBroker(t, nil)
	cmd.Args[len(cmd.Args)-1] = strings.TrimSuffix(url, "/") // which would be a vhost without a name
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), " ok\n") != 12 {
		t.Errorf("%v\n%s", err, out)
	}
}

// talk runs a program that says a word when something is to be done, and that all was well at its end.
func talk(t *testing.T, cmd *exec.Cmd, word string, do func()) {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		said = append(said, lines.Text())
		if lines.Text() == word {
			do()
			if _, err := io.WriteString(in, "done\n"); err != nil {
				t.Error(err)
			}
		}
	}
	if err := cmd.Wait(); err != nil || len(said) != 2 || !strings.HasSuffix(said[1], " ok") {
		t.Errorf("%v: %q", err, said)
	}
}

// The client's own recovery, after connsrv was killed: what was the connection's alone is made again.
func TestAMQPJavaRecovery(t *testing.T) {
	t.Parallel()
	cmd := amqpJava(t, "Recovery.java", "")
	b, url := amqpBroker(t, nil)
	cmd.Args[len(cmd.Args)-1] = strings.TrimSuffix(url, "/") // which would be a vhost without a name
	talk(t, cmd, "ready", func() {
		if err := b.Kill("connsrv"); err != nil {
			t.Error(err)
		}
	})
}

// While the disk is nearly full the client is told that the broker is blocked, and why.
func TestAMQPJavaBlocked(t *testing.T) {
	cmd := amqpJava(t, "Blocked.java", "")
	disk := mountTmpfs(t, "size=96m")
	_, url := amqpBroker(t, map[string]string{
		"data_dir": fmt.Sprintf("%q", filepath.Join(disk, "data")), "ring_request_bytes": "\"4Mi\"", "max_frame_bytes": "\"256Ki\"",
		"disk_reserve_bytes": "\"24Mi\"", "segment_bytes": "\"4Mi\"", "retention_check_ms": "50", "page_flush_ms": "50",
	})
	cmd.Args[len(cmd.Args)-1] = strings.TrimSuffix(url, "/") // which would be a vhost without a name
	ballast := filepath.Join(disk, "ballast")
	fill(t, ballast, disk, 12<<20)
	talk(t, cmd, "full", func() {
		if err := os.Remove(ballast); err != nil {
			t.Error(err)
		}
	})
}
