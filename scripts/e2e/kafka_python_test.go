package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trimq/trimq/scripts/broker"
)

// clientPython is a Python that has confluent-kafka: `make kafka-clients` installs one into bin/, from
// testdata/kafka/requirements.txt.
func clientPython(t *testing.T) string {
	t.Helper()
	root, err := broker.Root()
	if err != nil {
		t.Fatal(err)
	}
	for _, python := range []string{filepath.Join(root, "bin", "kafka-clients", "bin", "python"), "python3"} {
		if exec.Command(python, "-c", "import confluent_kafka").Run() == nil {
			return python
		}
	}
	t.Skip("no Python has confluent-kafka: `make kafka-clients` installs it")
	return ""
}

// librdkafka, by way of confluent-kafka-python.
func TestKafkaLibrdkafka(t *testing.T) {
	t.Parallel()
	python := clientPython(t)
	_, addr := kafkaBroker(t, othersSettings)
	cmd := exec.CommandContext(testContext(t), python, filepath.Join("testdata", "kafka", "client.py"), addr)
	cmd.Env = append(os.Environ(), "PYTHONUNBUFFERED=1")
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), "ok") != 11 {
		t.Errorf("%v\n%s", err, out)
	}
}
