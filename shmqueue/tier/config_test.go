package tier

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

func load(t *testing.T, file string, environ, args []string) (*Config, error) {
	t.Helper()
	path := ""
	if file != "" {
		path = filepath.Join(t.TempDir(), "trimq.toml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, _, err := Load(path, environ, args, io.Discard)
	return c, err
}

func TestPrecedence(t *testing.T) {
	file := "data_dir = \"/f\"\nwindow_requests = 10\nmax_frame_bytes = \"2Mi\"\nturn_inputs = 7\n"
	c, err := load(t, file, []string{"TRIMQ_WINDOW_REQUESTS=20", "TRIMQ_TURN_INPUTS=8", "HOME=/x", "TRIMQ_SECRET=s", "TRIMQ_TIMEOUT=1s"}, []string{"-turn-inputs", "9"})
	if err != nil {
		t.Fatal(err)
	}
	if c.DataDir != "/f" || c.RunDir != "/f/run" || c.LogDir != "/f/log" {
		t.Errorf("directories: %q %q %q", c.DataDir, c.RunDir, c.LogDir)
	}
	if c.MaxFrameBytes != 2<<20 || c.WindowRequests != 20 || c.TurnInputs != 9 {
		t.Errorf("file, environment, flag: %d %d %d", c.MaxFrameBytes, c.WindowRequests, c.TurnInputs)
	}
	if c.PageFlushMS != Default().PageFlushMS {
		t.Errorf("default: %d", c.PageFlushMS)
	}
}

func TestRefusals(t *testing.T) {
	for _, tc := range []struct{ name, file, env, arg, want string }{
		{name: "typo in the file", file: "segment_byte = 1048576", want: `unknown key "segment_byte": did you mean "segment_bytes"`},
		{name: "table", file: "[listen]\nx = 1", want: "listen"},
		{name: "syntax", file: "listen = \n", want: "line 1"},
		{name: "wrong type", file: "turn_inputs = \"many\"", want: "turn_inputs"},
		{name: "size", file: "segment_bytes = \"12Xi\"", want: "is not a size"},
		{name: "typo in the environment", env: "TRIMQ_DATADIR=/x", want: "did you mean TRIMQ_DATA_DIR"},
		{name: "number in the environment", env: "TRIMQ_TURN_INPUTS=x", want: "TRIMQ_TURN_INPUTS"},
		{name: "typo in a flag", arg: "-data-dri=/x", want: "did you mean -data-dir"},
		{name: "flag without value", arg: "-data-dir", want: "data-dir"},
		{name: "no file", arg: "-config=/nonexistent/trimq.toml", want: "/nonexistent/trimq.toml"},
		{name: "ring not a power of two", file: "ring_log_bytes = 8000000", want: "ring_log_bytes = 8000000 is not a power of two"},
		{name: "frame too large for the ring", file: "max_frame_bytes = \"16Mi\"", want: "max_frame_bytes"},
		{name: "reserve smaller than the rings", file: "disk_reserve_bytes = \"1Mi\"", want: "disk_reserve_bytes"},
		{name: "level", file: "default_level = \"disc\"", want: "memory, page, disk"},
		{name: "address", file: "listen = \"7420\"", want: "HOST:PORT"},
		{name: "negative", file: "window_requests = -1", want: "window_requests = -1"},
		{name: "empty data directory", file: "data_dir = \"\"", want: "data_dir is empty"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var env, args []string
			if tc.env != "" {
				env = []string{tc.env}
			}
			if tc.arg != "" {
				args = []string{tc.arg}
			}
			_, err := load(t, tc.file, env, args)
			if err == nil || !strings.Contains(err.Error(), tc.want) || !errors.Is(err, ErrUsage) {
				t.Errorf("got %v, want a usage error with %q", err, tc.want)
			}
		})
	}
}

func TestHelpIsNotAnError(t *testing.T) {
	var out bytes.Buffer
	_, _, err := Load("", nil, []string{"-help"}, &out)
	if !errors.Is(err, flag.ErrHelp) || !strings.Contains(out.String(), "-data-dir") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// The sample file, with its comment signs taken away, is the default configuration.
func TestSampleIsTheDefault(t *testing.T) {
	var b bytes.Buffer
	if err := Sample(&b); err != nil {
		t.Fatal(err)
	}
	file := regexp.MustCompile(`(?m)^#(\w+ = )`).ReplaceAllString(b.String(), "$1")
	c, err := load(t, file, nil, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, file)
	}
	want := Default()
	if err := want.finish(); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v\nwant %+v", c, want)
	}
	if n := strings.Count(file, "\n"+want.keys()[0]+" ="); n != 1 {
		t.Errorf("%d times %s", n, want.keys()[0])
	}
}

// docs/trimq.toml is the sample; `make config` writes it.
func TestDocumentedConfigurationIsCurrent(t *testing.T) {
	var b bytes.Buffer
	if err := Sample(&b); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../docs/trimq.toml")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, b.Bytes()) {
		t.Error("docs/trimq.toml differs from the settings in config.go: run `make config`")
	}
}

func TestDifferences(t *testing.T) {
	a, b := Default(), Default()
	b.LogLevel, b.Listen = "debug", "127.0.0.1:1"
	reload, restart := a.Differences(b)
	if !reflect.DeepEqual(reload, []string{"log_level"}) || !reflect.DeepEqual(restart, []string{"listen"}) {
		t.Errorf("reload %v, restart %v", reload, restart)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("data_dir = \"x\"\n", "1Mi")
	f.Fuzz(func(t *testing.T, file, size string) {
		var b Bytes
		if b.UnmarshalText([]byte(size)) == nil {
			text, err := b.MarshalText()
			var again Bytes
			if err != nil || again.UnmarshalText(text) != nil || again != b {
				t.Fatalf("%q reads as %d, writes as %q", size, b, text)
			}
		}
		path := filepath.Join(t.TempDir(), "f")
		if os.WriteFile(path, []byte(file), 0o600) == nil {
			_, _, _ = Load(path, nil, nil, io.Discard) // must not panic
		}
	})
}
