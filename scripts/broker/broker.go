package broker

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sort"
	"strings"

	"github.com/trimq/trimq/shmqueue"
	"github.com/trimq/trimq/shmqueue/tier"
)

// Broker is one broker.
type Broker struct {
	Dir     string // scratch directory: data, run, log and the configuration file
	Bin     string // directory of the programs
	File    string // configuration file
	Addr    string // native protocol
	Admin   string // HTTP
	KeyBase int
	Config  *tier.Config
	Env     []string // environment ("KEY=value") of the programs, above ours without TRIMQ_*
}

// Root returns the repository's root, from the place of this source file at build time or
// the working directory.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "go.mod")); err == nil {
			return d, nil
		}
		if d == filepath.Dir(d) {
			return "", fmt.Errorf("no go.mod above %s: run it from within the repository", dir)
		}
	}
}

// New prepares a broker in dir. Settings are TOML values by key, above the defaults.
func New(dir string, settings map[string]string) (*Broker, error) {
	return NewAt("", dir, settings)
}

// NewAt is New with the programs of another directory than the repository's bin, which "" stands for.
func NewAt(bin, dir string, settings map[string]string) (*Broker, error) {
	if bin == "" {
		root, err := Root()
		if err != nil {
			return nil, err
		}
		bin = filepath.Join(root, "bin")
	}
	b := &Broker{Dir: dir, Bin: bin, File: filepath.Join(dir, "trimq.toml")}
	var err error
	if _, err := os.Stat(filepath.Join(b.Bin, "mq_server")); err != nil {
		return nil, fmt.Errorf("the programs are not built: run make first (%w)", err)
	}
	if b.KeyBase, err = freeKeys(); err != nil {
		return nil, err
	}
	addresses, err := freeAddresses(2)
	if err != nil {
		return nil, err
	}
	b.Addr, b.Admin = addresses[0], addresses[1]
	all := map[string]string{
		"data_dir": quote(filepath.Join(dir, "data")), "run_dir": quote(filepath.Join(dir, "run")), "log_dir": quote(filepath.Join(dir, "log")),
		"listen": quote(b.Addr), "admin_listen": quote(b.Admin), "shm_key_base": fmt.Sprint(b.KeyBase),
	}
	for k, v := range settings {
		all[k] = v
	}
	var text strings.Builder
	keys := make([]string, 0, len(all))
	for k := range all {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	for _, k := range keys {
		fmt.Fprintf(&text, "%s = %s\n", k, all[k])
	}
	if err := os.WriteFile(b.File, []byte(text.String()), 0o600); err != nil {
		return nil, err
	}
	b.Config, _, err = tier.Load(b.File, nil, nil, os.Stderr)
	return b, err
}

func quote(s string) string { return fmt.Sprintf("%q", s) }

// freeKeys returns a key base of which none of the four keys is in use.
func freeKeys() (int, error) {
	for range 100 {
		var r [4]byte
		if _, err := rand.Read(r[:]); err != nil {
			return 0, err
		}
		base := int(binary.LittleEndian.Uint32(r[:])&0x0fffffff | 0x10000000)
		free := true
		for k := base; k < base+4; k++ {
			_, err := shmqueue.Stat(k)
			free = free && errors.Is(err, shmqueue.ErrNoSegment)
		}
		if free {
			return base, nil
		}
	}
	return 0, errors.New("no free SysV keys found")
}

// command runs a program of bin/ with our configuration, without the caller's TRIMQ_*.
func (b *Broker) command(program string, args ...string) (string, error) {
	cmd := exec.Command(filepath.Join(b.Bin, program), args...)
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "TRIMQ_") {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	cmd.Env = append(append(cmd.Env, b.Env...), "TRIMQ_CONFIG="+b.File)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s", program, strings.Join(args, " "), err, out.String())
	}
	return out.String(), err
}

// Start starts the broker and waits until it serves.
func (b *Broker) Start() error {
	_, err := b.command("mq_server", "start")
	return err
}

// Signal is `mq_server stop SIGNAL [TIER]`.
func (b *Broker) Signal(signal string, tierName ...string) error {
	_, err := b.command("mq_server", append([]string{"stop", signal}, tierName...)...)
	return err
}

// Kill sends signal 9 to a tier; its supervisor starts it again.
func (b *Broker) Kill(tierName string) error { return b.Signal("9", tierName) }

// Run runs bin/trimq against the broker.
func (b *Broker) Run(args ...string) (string, error) {
	return b.command("trimq", append([]string{"--addr", b.Addr}, args...)...)
}

// Program runs any program of bin/ and returns all it printed.
func (b *Broker) Program(program string, args ...string) (string, error) {
	return b.command(program, args...)
}

// State is one tier in the state of the broker.
type State struct {
	Name     string `json:"name"`
	State    string `json:"state"`
	PID      int    `json:"pid"`
	Restarts int    `json:"restarts"`
	Reason   string `json:"reason"`
}

// States returns the tiers' states; it works on a broker in any state.
func (b *Broker) States() (map[string]State, error) {
	out, err := b.command("mq_server", "status", "json")
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return nil, err
	}
	var s struct {
		Tiers []State `json:"tiers"`
	}
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		return nil, fmt.Errorf("status: %w\n%s", err, out)
	}
	byName := map[string]State{}
	for _, t := range s.Tiers {
		byName[t.Name] = t
	}
	return byName, nil
}

// Cleanup ends whatever is left of the broker, whatever state it is in, and removes its
// segments. It returns what it found wrong.
func (b *Broker) Cleanup() error {
	_, _ = b.command("mq_server", "stop", "9") // fails where nothing runs
	var errs []error
	for k := b.KeyBase; k < b.KeyBase+4; k++ {
		if err := shmqueue.Remove(k); err != nil && !errors.Is(err, shmqueue.ErrNoSegment) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Left names what a stopped broker has left behind: processes and segments.
func (b *Broker) Left() []string {
	var left []string
	for _, name := range append([]string{"supervisor"}, tier.Daemons...) {
		if pid, err := tier.LockHolder(tier.PathsOf(b.Config, name).Lock); err != nil || pid != 0 {
			left = append(left, fmt.Sprintf("process %d of %s (%v)", pid, name, err))
		}
	}
	for k := b.KeyBase; k < b.KeyBase+4; k++ {
		if _, err := shmqueue.Stat(k); !errors.Is(err, shmqueue.ErrNoSegment) {
			left = append(left, fmt.Sprintf("segment at key %d (%v)", k, err))
		}
	}
	return left
}

// Logs returns the ends of the daemons' logs, for the report of a failure.
func (b *Broker) Logs() string {
	var s strings.Builder
	for _, name := range append([]string{"supervisor"}, tier.Daemons...) {
		for _, path := range []string{tier.PathsOf(b.Config, name).Log, filepath.Join(b.Config.LogDir, name+".out")} {
			text, err := os.ReadFile(path)
			if err != nil || len(text) == 0 {
				continue
			}
			fmt.Fprintf(&s, "== %s\n%s\n", filepath.Base(path), text[max(0, len(text)-4000):])
		}
	}
	return s.String()
}

// GoSources returns the directory of the Go toolchain's sources, the demo's corpus.
func GoSources() (string, error) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOROOT: %w", err)
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), "src")
	if _, err := os.Stat(dir); err != nil {
		return "", fmt.Errorf("the Go toolchain (%s) has no sources: %w", runtime.Version(), err)
	}
	return dir, nil
}
