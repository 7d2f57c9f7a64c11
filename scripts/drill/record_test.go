package drill

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/trimq/trimq/clients/trimq"
	"pgregory.net/rapid"
)

// filled sets each exported field of an operation to something that rapid draws.
func filled(t *rapid.T, op operation) operation {
	v := reflect.ValueOf(op).Elem()
	for i := range v.NumField() {
		v.Field(i).Set(drawn(t, v.Field(i).Type()))
	}
	return op
}

// drawn is a value of a type of an operation's field.
func drawn(t *rapid.T, of reflect.Type) reflect.Value {
	v := reflect.New(of).Elem()
	switch x := v.Addr().Interface().(type) {
	case *time.Time:
		*x = time.Unix(rapid.Int64Range(0, 1<<32).Draw(t, "time"), 0).UTC()
		return v
	case *[]trimq.Death:
		*x = []trimq.Death{{Queue: "q", Reason: trimq.ReasonExpired, Count: 1, FirstMS: 7}}
		return v
	}
	switch of.Kind() {
	case reflect.String:
		v.SetString(rapid.StringMatching(`[a-z0-9/ "]{1,9}`).Draw(t, "text"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.Int, reflect.Int64:
		v.SetInt(rapid.Int64Range(-1, 1<<40).Draw(t, "number"))
	case reflect.Uint8:
		v.SetUint(uint64(rapid.Uint8Range(0, 2).Draw(t, "small")))
	case reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(rapid.Uint16().Draw(t, "number")))
	case reflect.Pointer:
		v.Set(reflect.New(of.Elem()))
		v.Elem().Set(drawn(t, of.Elem()))
	case reflect.Slice:
		v.Set(reflect.Append(v, drawn(t, of.Elem())))
	case reflect.Struct:
		for i := range v.NumField() {
			v.Field(i).Set(drawn(t, of.Field(i).Type))
		}
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"a": "b"}))
	default:
		t.Fatalf("no value for a field of type %v", of)
	}
	return v
}

// TestEveryOperationIsReadAsItWasWritten: and is of the kind under which it is found.
func TestEveryOperationIsReadAsItWasWritten(t *testing.T) {
	for name, empty := range kinds {
		rapid.Check(t, func(t *rapid.T) {
			op, at := filled(t, empty()), time.Duration(rapid.Int64Range(0, 1<<50).Draw(t, "at"))
			var text strings.Builder
			r := newRecorder(nowhere{&text})
			if r.write(op, at); r.flush() != nil {
				t.Fatal(r.err)
			}
			l, err := parseLine([]byte(strings.TrimSuffix(text.String(), "\n")))
			if err != nil || op.kind() != name || l.at != at || !reflect.DeepEqual(l.op, op) {
				t.Fatalf("%s: %#v became %#v, %v", text.String(), op, l.op, err)
			}
		})
	}
}

type nowhere struct{ *strings.Builder }

func (nowhere) Close() error { return nil }

// written is the sound history as a file in a directory of its own.
func written(t *testing.T, spoil func(h *history)) string {
	t.Helper()
	dir := t.TempDir()
	h := sound(func(h *history) {
		var err error
		if h.out, err = createRecorder(dir); err != nil {
			t.Fatal(err)
		}
	})
	spoil(h)
	if err := h.out.close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestJudgeFromTheFileAlone: what was noted is judged from the file as in the run, a good history and a bad
// one, and a last line that is torn does not count.
func TestJudgeFromTheFileAlone(t *testing.T) {
	dir := written(t, func(*history) {})
	if r, err := Judge(dir); err != nil || len(r.Wrong) > 0 || r.Verdict() != "good" || r.Acked() != 6 {
		t.Fatalf("%+v, %v", r, err)
	}
	dir = written(t, func(h *history) { h.note(&opFinal{"t/0", []sight{{3, "p 1"}}}) })
	r, err := Judge(dir)
	if err != nil || !strings.Contains(strings.Join(r.Wrong, "\n"), "DOUBLE") {
		t.Fatalf("%+v, %v", r, err)
	}
	f, err := os.OpenFile(filepath.Join(dir, historyFile), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(`final 17 {"p":"t/0","r":[{"o":4,`)
	}
	if err != nil || f.Close() != nil {
		t.Fatal(err)
	}
	again, err := Judge(dir)
	if err != nil || !reflect.DeepEqual(again.Wrong, r.Wrong) {
		t.Fatalf("with a torn line: %+v, %v", again, err)
	}
}

// TestDamagedHistory: what is no history is refused, and the line is named.
func TestDamagedHistory(t *testing.T) {
	for text, want := range map[string]string{
		"":                                      "is empty",
		"began 0 {\"version\":1}\nx\n":          "line 2: \"x\" is no operation",
		"began 0 {\"version\":1}\nfly 1 {}\n":   "there is no operation \"fly\"",
		"began 0 {\"version\":1}\nmark -1 {}\n": "is no operation",
		"began 0 {\"version\":1}\nmark 1 {\n":   "operation mark",
		"mark 1 {}\n":                           "begins with the operation began",
		"began 0 {}\nbegan 1 {}\n":              "has one of them",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, historyFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Judge(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, err := Judge(t.TempDir()); !os.IsNotExist(err) {
		t.Error(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, historyFile), []byte("began 0 {\"version\":99}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := Judge(dir); err != nil || !strings.Contains(strings.Join(r.Wrong, "\n"), "has version 99") {
		t.Error(err)
	}
}

// TestRunRefuses: what cannot be done is said before anything is started.
func TestRunRefuses(t *testing.T) {
	for want, o := range map[string]Options{
		"there is no load \"x\"":      {Load: "x"},
		"there is no fault \"quake\"": {Load: LoadTopics, Faults: []string{"quake"}},
		"the programs are not built":  {Load: LoadTopics, Bin: "/nowhere"},
	} {
		o.Dir = t.TempDir()
		if _, err := Run(context.Background(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// FuzzParseLine: no line makes the reader, or the history that it is applied to, panic.
func FuzzParseLine(f *testing.F) {
	dir := f.TempDir()
	h := sound(func(h *history) { h.out, _ = createRecorder(dir) })
	if err := h.out.close(); err != nil {
		f.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, historyFile))
	if err != nil {
		f.Fatal(err)
	}
	for _, line := range strings.Split(string(text), "\n") {
		f.Add([]byte(line))
	}
	for name := range kinds {
		f.Add([]byte(name + " 1 {}"))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := parseLine(text)
		if err != nil {
			return
		}
		h := sound(func(*history) {})
		l.op.apply(h, h.began.Add(l.at))
		h.judge()
	})
}
