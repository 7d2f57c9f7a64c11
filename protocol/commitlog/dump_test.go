package commitlog

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trimq/trimq/protocol/journal"
)

// TestDumpKnowsEveryEvent: the examples of package journal are of all events that there are.
func TestDumpKnowsEveryEvent(t *testing.T) {
	files, err := filepath.Glob("../journal/testdata/golden/event_v5_*.bin")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		r := journal.Events(b)
		ev, ok := r.Next()
		if text := eventText(ev); !ok || strings.Contains(text, "of unknown type") || strings.HasPrefix(text, "event of type") {
			t.Errorf("%s: %s", file, text)
		}
	}
}
