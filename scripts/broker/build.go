package broker

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/trimq/trimq/shmqueue/tier"
)

// BuildFailpoints builds the daemons with failpoints in them into dir, for Broker.Bin, and puts the other
// programs of bin/ beside them. rule is one that they break on purpose (protocol/failpoint: Broken),
// or empty.
func BuildFailpoints(dir, rule string) error {
	root, err := Root()
	if err != nil {
		return err
	}
	args := []string{"build", "-buildvcs=false", "-tags", "failpoints", "-o", dir + "/"}
	if rule != "" {
		args = append(args, "-ldflags", "-X github.com/trimq/trimq/protocol/failpoint.Rule="+rule)
	}
	for _, name := range tier.Daemons {
		args = append(args, "./"+name)
	}
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Stderr = root, os.Stderr
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build: %w", err)
	}
	for _, name := range []string{"mq_server", "trimq"} { // copies: the supervisor looks for the daemons beside itself
		text, err := os.ReadFile(filepath.Join(root, "bin", name))
		if err != nil {
			return fmt.Errorf("the programs are not built: run make first (%w)", err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o755); err != nil {
			return err
		}
	}
	return nil
}
