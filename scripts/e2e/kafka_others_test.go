package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trimq/trimq/scripts/broker"
)

// Clients of other makers, with their default settings, each with a program of its own in
// testdata/kafka: produce with all codecs, consume, groups, administration. `make kafka-clients` brings
// those clients into bin/ that the package registries have.

// clientPath is where `make kafka-clients` puts something.
func clientPath(t *testing.T, parts ...string) string {
	t.Helper()
	root, err := broker.Root()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(append([]string{root, "bin", "kafka-clients"}, parts...)...)
}

// playOther runs a client's program against a broker of its own: it says so many times that something is
// ok.
func playOther(t *testing.T, oks int, env []string, program string, args ...string) {
	t.Helper()
	_, addr := kafkaBroker(t, map[string]string{"group_initial_delay_ms": "0", "group_heartbeat_ms": "500"})
	cmd := exec.CommandContext(testContext(t), program, append(args, addr)...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), " ok\n") != oks {
		t.Errorf("%v\n%s", err, out)
	}
}

// pythonWith is the Python of `make kafka-clients`, if it has a module.
func pythonWith(t *testing.T, module string) string {
	t.Helper()
	python := clientPath(t, "bin", "python")
	if exec.Command(python, "-c", "import "+module).Run() != nil {
		t.Skipf("there is no Python that has %s: `make kafka-clients` installs it", module)
	}
	return python
}

func TestKafkaPython(t *testing.T) {
	t.Parallel()
	playOther(t, 7, []string{"PYTHONUNBUFFERED=1"}, pythonWith(t, "kafka"), filepath.Join("testdata", "kafka", "kafkapython.py"))
}

func TestKafkaAio(t *testing.T) {
	t.Parallel()
	playOther(t, 4, []string{"PYTHONUNBUFFERED=1"}, pythonWith(t, "aiokafka"), filepath.Join("testdata", "kafka", "aio.py"))
}

func TestKafkaJS(t *testing.T) {
	t.Parallel()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("there is no node")
	}
	modules := clientPath(t, "node", "node_modules")
	if _, err := os.Stat(filepath.Join(modules, "kafkajs")); err != nil {
		t.Skip("kafkajs is not there: `make kafka-clients` brings it")
	}
	playOther(t, 4, []string{"NODE_PATH=" + modules}, node, filepath.Join("testdata", "kafka", "kafkajs.js"))
}

func TestKafkaSarama(t *testing.T) {
	t.Parallel()
	program := clientPath(t, "sarama")
	if _, err := os.Stat(program); err != nil {
		t.Skip("sarama's program is not there: `make kafka-clients` builds it")
	}
	playOther(t, 9, nil, program)
}

// kcat, in all that it does: produce, consume from offsets and times, list, query, a group, and a copy.
func TestKafkaKcat(t *testing.T) {
	t.Parallel()
	kcat, err := exec.LookPath("kcat")
	if err != nil {
		t.Skip("there is no kcat: the system's package manager has it")
	}
	_, addr := kafkaBroker(t, map[string]string{"kafka_partitions": "2", "group_initial_delay_ms": "0"})
	run := func(stdin string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(testContext(t), kcat, append([]string{"-b", addr, "-q"}, args...)...)
		cmd.Stdin = strings.NewReader(stdin)
		var fault bytes.Buffer
		cmd.Stderr = &fault
		out, err := cmd.Output()
		if err != nil {
			t.Errorf("kcat %s: %v\n%s%s", args, err, out, fault.Bytes())
		}
		return string(out)
	}
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		run(lines(50), "-P", "-t", "kcat-"+codec, "-K", ":", "-z", codec, "-H", "a=b")
		out := run("", "-C", "-t", "kcat-"+codec, "-e", "-o", "beginning", "-f", "%k:%s %h\n")
		for i := range 50 {
			if !strings.Contains(out, fmt.Sprintf("key %d:%s a=b\n", i, value(i))) {
				t.Fatalf("%s: %s is missing in\n%s", codec, value(i), out)
			}
		}
	}
	if out := run("", "-L"); !strings.Contains(out, `topic "kcat-lz4" with 2 partitions`) {
		t.Error(out)
	}
	if out := run("", "-Q", "-t", "kcat-gzip:0:0"); !strings.Contains(out, "[0] offset 0") {
		t.Error(out)
	}
	if out := run("", "-G", "group", "-e", "-o", "beginning", "kcat-none"); strings.Count(out, "\n") != 50 {
		t.Errorf("a member has got\n%s", out)
	}
	if out := run("", "-G", "group", "-e", "-o", "stored", "kcat-none"); out != "" {
		t.Errorf("what was committed has come again:\n%s", out)
	}
}
