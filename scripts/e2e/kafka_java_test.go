package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Apache Kafka's own client. `make kafka-clients` brings its archives into bin/, by testdata/kafka/java/java.xml.
func TestKafkaJava(t *testing.T) { playJava(t, "java", "Client.java", 8) }

// The client of Kafka 3.9.
func TestKafkaJava3(t *testing.T) { playJava(t, "java3", "Client.java", 8) }

// Transactions.
func TestKafkaJavaTransactions(t *testing.T) { playJava(t, "java", "TxnClient.java", 4) }

// Compaction.
func TestKafkaJavaCompaction(t *testing.T) { playJava(t, "java", "TableClient.java", 1) }

// Share groups.
func TestKafkaJavaShare(t *testing.T) { playJava(t, "java", "ShareClient.java", 3) }

// othersSettings are those of brokers for clients of other languages: groups form at once, and compaction
// does not let them wait.
var othersSettings = map[string]string{"group_initial_delay_ms": "0", "group_heartbeat_ms": "500", "compact_ms": "100", "retention_check_ms": "100"}

// playJava runs a program of testdata/kafka/java, with the archives of a folder, against a broker of its
// own; it says so many times that something is ok.
func playJava(t *testing.T, folder, program string, oks int) {
	t.Parallel()
	archives := clientPath(t, folder)
	if _, err := os.Stat(archives); err != nil {
		t.Skip("Kafka's Java client is not there: `make kafka-clients` brings it")
	}
	java, err := exec.LookPath("java")
	if err != nil {
		t.Skip("there is no java")
	}
	_, addr := kafkaBroker(t, othersSettings)
	cmd := exec.CommandContext(testContext(t), java, "-cp", filepath.Join(archives, "*"), filepath.Join("testdata", "kafka", "java", program), addr)
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), " ok\n") != oks {
		t.Errorf("%v\n%s", err, out)
	}
}
