package server

import (
	"bytes"
	"fmt"
	"os"

	"github.com/trimq/trimq/shmqueue/tier"
)

// readSecret reads the secret that clients must know: the file's first line.
func readSecret(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%w: auth_secret_file: %w", tier.ErrUsage, err)
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	line = bytes.TrimSpace(line)
	if len(line) == 0 {
		return nil, fmt.Errorf("%w: auth_secret_file %s: its first line is empty", tier.ErrUsage, path)
	}
	return line, nil
}
