package tier

import (
	"encoding"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"reflect"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// ErrUsage marks an error in arguments, environment or configuration: starting again
// without a change is of no use. Daemons exit with ExitUsage for it.
var ErrUsage = errors.New("bad configuration")

// envPrefix begins the name of a setting in the environment: TRIMQ_DATA_DIR is data_dir.
const envPrefix = "TRIMQ_"

// ownEnvironment are variables with our prefix that are no settings: clients' and tests'.
var ownEnvironment = []string{
	"TRIMQ_CONFIG", "TRIMQ_ADDR", "TRIMQ_SECRET", "TRIMQ_SECRET_FILE", "TRIMQ_TIMEOUT", "TRIMQ_DIE_AT", "TRIMQ_POINTS", "TRIMQ_BREAK", "TRIMQ_FAIL_IO",
	handOverVariable,
}

// setting is one key of Config, bound to a Config's field.
type setting struct {
	key, help string
	reload    bool
	field     reflect.Value
}

// settings lists c's keys in the order of the struct.
func settings(c *Config) []setting {
	v := reflect.ValueOf(c).Elem()
	list := make([]setting, 0, v.NumField())
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		list = append(list, setting{tag.Get("toml"), tag.Get("help"), tag.Get("reload") != "", v.Field(i)})
	}
	return list
}

func (s setting) set(text string) error {
	switch f := s.field.Addr().Interface().(type) {
	case encoding.TextUnmarshaler:
		return f.UnmarshalText([]byte(text))
	case *string:
		*f = text
	case *int:
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil {
			return fmt.Errorf("%q is not a whole number", text)
		}
		*f = n
	}
	return nil
}

func (s setting) text() string {
	if m, ok := s.field.Interface().(encoding.TextMarshaler); ok {
		b, _ := m.MarshalText()
		return string(b)
	}
	return fmt.Sprint(s.field.Interface())
}

// Load builds the configuration: defaults, then the file (path may be empty), then
// TRIMQ_* in environ ("KEY=value"), then args (flags -key-with-dashes). It returns the
// arguments that are not flags. Errors wrap ErrUsage; flag.ErrHelp is passed on.
func Load(path string, environ, args []string, usage io.Writer) (*Config, []string, error) {
	c := Default()
	flags := newFlags(usage)
	overrides := map[string]string{}
	for _, s := range settings(c) {
		flags.Func(strings.ReplaceAll(s.key, "_", "-"), s.help+" (default "+strconv.Quote(s.text())+")", func(v string) error {
			overrides[s.key] = v
			return nil
		})
	}
	file := flags.String("config", path, "configuration file (TOML); also TRIMQ_CONFIG")
	if err := parseFlags(flags, args); err != nil {
		return nil, nil, err
	}
	if *file == "" {
		*file = lookup(environ, "TRIMQ_CONFIG")
	}
	if err := c.readFile(*file); err != nil {
		return nil, nil, err
	}
	if err := c.readEnvironment(environ); err != nil {
		return nil, nil, err
	}
	for _, s := range settings(c) {
		if v, ok := overrides[s.key]; ok {
			if err := s.set(v); err != nil {
				return nil, nil, fmt.Errorf("%w: flag -%s: %w", ErrUsage, strings.ReplaceAll(s.key, "_", "-"), err)
			}
		}
	}
	if err := c.finish(); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	return c, flags.Args(), nil
}

func newFlags(usage io.Writer) *flag.FlagSet {
	flags := flag.NewFlagSet("trimq", flag.ContinueOnError)
	flags.SetOutput(usage)
	flags.Usage = func() {
		fmt.Fprintln(usage, "Settings, as flags; the same keys with _ stand in the configuration file, and as TRIMQ_KEY in the environment.")
		flags.PrintDefaults()
	}
	return flags
}

// parseFlags is flags.Parse, with the nearest known name for an unknown flag. All our
// flags take a value, so that an argument without = is followed by one.
func parseFlags(flags *flag.FlagSet, args []string) error {
	for i := 0; i < len(args); i++ {
		name, isFlag := strings.CutPrefix(args[i], "-")
		name = strings.TrimPrefix(name, "-")
		if !isFlag || name == "" {
			break
		}
		name, _, hasValue := strings.Cut(name, "=")
		if name == "h" || name == "help" {
			break
		}
		if flags.Lookup(name) == nil {
			var known []string
			flags.VisitAll(func(f *flag.Flag) { known = append(known, f.Name) })
			return fmt.Errorf("%w: unknown flag -%s: did you mean -%s?", ErrUsage, name, nearest(name, known))
		}
		if !hasValue {
			i++
		}
	}
	saved := flags.Output()
	flags.SetOutput(io.Discard)
	err := flags.Parse(args)
	flags.SetOutput(saved)
	if errors.Is(err, flag.ErrHelp) {
		flags.Usage()
		return err
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUsage, err)
	}
	return nil
}

func lookup(environ []string, key string) string {
	for _, kv := range environ {
		if v, ok := strings.CutPrefix(kv, key+"="); ok {
			return v
		}
	}
	return ""
}

func (c *Config) keys() []string {
	var keys []string
	for _, s := range settings(c) {
		keys = append(keys, s.key)
	}
	return keys
}

// readFile decodes the file over c. A key that is not known is an error.
func (c *Config) readFile(path string) error {
	if path == "" {
		return nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%w: configuration file: %w", ErrUsage, err)
	}
	meta, err := toml.Decode(string(text), c)
	if err != nil {
		var at toml.ParseError
		if errors.As(err, &at) {
			return fmt.Errorf("%w: %s, line %d: %s", ErrUsage, path, at.Position.Line, at.Message)
		}
		return fmt.Errorf("%w: %s: %w", ErrUsage, path, err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		key := unknown[0].String()
		return fmt.Errorf("%w: %s: unknown key %q: did you mean %q?", ErrUsage, path, key, nearest(key, c.keys()))
	}
	return nil
}

// readEnvironment applies TRIMQ_* settings; one that is no setting is an error.
func (c *Config) readEnvironment(environ []string) error {
	known := map[string]setting{}
	var names []string
	for _, s := range settings(c) {
		name := envPrefix + strings.ToUpper(s.key)
		known[name] = s
		names = append(names, name)
	}
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, envPrefix) || isOwn(name) {
			continue
		}
		s, ok := known[name]
		if !ok {
			return fmt.Errorf("%w: environment: unknown setting %s: did you mean %s?", ErrUsage, name, nearest(name, names))
		}
		if err := s.set(value); err != nil {
			return fmt.Errorf("%w: environment: %s: %w", ErrUsage, name, err)
		}
	}
	return nil
}

// isOwn tells whether a variable with our prefix belongs to tests or tools.
func isOwn(name string) bool {
	for _, o := range ownEnvironment {
		if name == o {
			return true
		}
	}
	return strings.HasPrefix(name, envPrefix+"TEST_")
}

// nearest returns the known word with the smallest edit distance to word.
func nearest(word string, known []string) string {
	best, bestDistance := "", len(word)+100
	for _, k := range known {
		if d := editDistance(word, k); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best
}

// editDistance is Levenshtein's, with two rows.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

// Differences names the settings in which next differs from c: those that a reload
// applies, and those that need a restart.
func (c *Config) Differences(next *Config) (reload, restart []string) {
	after := settings(next)
	for i, s := range settings(c) {
		switch {
		case s.text() == after[i].text():
		case s.reload:
			reload = append(reload, s.key)
		default:
			restart = append(restart, s.key)
		}
	}
	return reload, restart
}

// Sample writes a configuration file with every key, its documentation and its default.
func Sample(w io.Writer) error {
	var b strings.Builder
	b.WriteString("# TriMQ's configuration: every key with its default. The three daemons read the same file.\n" +
		"# Flags (-data-dir) and the environment (TRIMQ_DATA_DIR) stand above it. Keys marked (reload)\n" +
		"# are applied by signal 1; the others at the next start.\n")
	for _, s := range settings(Default()) {
		mark := ""
		if s.reload {
			mark = " (reload)"
		}
		value := s.text()
		if s.field.Kind() == reflect.String || s.field.Type() == reflect.TypeFor[Bytes]() {
			value = strconv.Quote(value)
		}
		fmt.Fprintf(&b, "\n# %s%s\n#%s = %s\n", s.help, mark, s.key, value)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
