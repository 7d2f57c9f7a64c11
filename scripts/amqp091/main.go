// Amqp091 runs the tests of RabbitMQ's Go client, its integration tests among them, against a broker of
// ours, and lists what passed, what was skipped (and why) and what failed.
//
//	go run ./scripts/amqp091 [-run PATTERN] [-skip PATTERN] [-timeout D]
//
// Its tests of recovery end connections over the management API at RabbitMQ's own port, which must be
// free for them; otherwise they are left out.
//
// The tests are those of a release of the module, from the module proxy, unchanged, in a copy of it:
// what they need besides is no business of our go.mod.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/trimq/trimq/scripts/broker"
)

const tested = "github.com/rabbitmq/amqp091-go@v1.16.0"

func main() {
	run := flag.String("run", ".", "which tests")
	skip := flag.String("skip", "", "which of them not")
	timeout := flag.String("timeout", "10m", "time for all of them")
	flag.Parse()
	if err := play(*run, *skip, *timeout); err != nil {
		fmt.Fprintln(os.Stderr, "amqp091:", err)
		os.Exit(1)
	}
}

// play runs the tests beside a broker. An error: some have failed, or could not be run.
func play(run, skip, timeout string) (err error) {
	dir, err := os.MkdirTemp("", "trimq-amqp091-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	module, lister := filepath.Join(dir, "module"), filepath.Join(dir, "gotest")
	if err := copyModule(module); err != nil {
		return err
	}
	if out, err := exec.Command("go", "build", "-o", lister, "./scripts/gotest").CombinedOutput(); err != nil {
		return fmt.Errorf("build scripts/gotest: %w\n%s", err, out)
	}
	addr, err := broker.FreeAddress()
	if err != nil {
		return err
	}
	settings := map[string]string{"amqp_listen": fmt.Sprintf("%q", addr)}
	if err := managementFree(); err == nil {
		settings["admin_listen"] = fmt.Sprintf("%q", managementAddress)
	} else {
		fmt.Fprintf(os.Stderr, "amqp091: %v: the tests of recovery are left out\n", err)
		skip = strings.TrimPrefix(skip+"|TestConnectionRecovery", "|")
	}
	b, err := broker.New(dir, settings)
	if err != nil {
		return err
	}
	defer func() {
		if clean := b.Cleanup(); err == nil {
			err = clean
		}
	}()
	if err := b.Start(); err != nil {
		return err
	}
	cmd := exec.Command(lister, "-count=1", "-tags", "integration", "-run", run, "-skip", skip, "-timeout", timeout, ".")
	cmd.Dir, cmd.Stdout, cmd.Stderr = module, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "AMQP_URL=amqp://guest:guest@"+addr+"/", "GOFLAGS=-mod=mod")
	return cmd.Run()
}

// managementAddress is where the client's tests look for the management API.
const managementAddress = "127.0.0.1:15672"

// managementFree tells whether it can be listened at; otherwise why not.
func managementFree() error {
	ln, err := net.Listen("tcp", managementAddress)
	if err != nil {
		return err
	}
	return ln.Close()
}

// copyModule brings the client's module to a folder where go test may write.
func copyModule(to string) error {
	cmd := exec.Command("go", "mod", "download", "-json", tested)
	cmd.Dir = os.TempDir() // outside of our module
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("download %s: %w", tested, err)
	}
	var m struct{ Dir string }
	if err := json.Unmarshal(out, &m); err != nil {
		return err
	}
	return os.CopyFS(to, os.DirFS(m.Dir))
}
