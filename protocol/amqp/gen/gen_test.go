package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const folder = ".."

// What is committed is what the table gives.
func TestGeneratedAgain(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(folder, "spec", "amqp0-9-1.stripped.extended.xml"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := Generate(raw)
	if err != nil {
		t.Fatal(err)
	}
	generated := map[string]bool{}
	for _, f := range files {
		generated[f.Name] = true
		have, err := os.ReadFile(filepath.Join(folder, f.Name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(have, f.Source) {
			t.Errorf("%s is not what the table gives: run go generate ./protocol/amqp", f.Name)
		}
	}
	there, err := filepath.Glob(filepath.Join(folder, "*_gen.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range there {
		if !generated[filepath.Base(path)] {
			t.Errorf("%s is generated from nothing", path)
		}
	}
}

func TestTableThatCannotBe(t *testing.T) {
	for _, c := range []struct{ table, says string }{
		{"<amqp><class", "XML"},
		{`<amqp><class name="c" index="1"><method name="m" index="1"><field name="f" domain="d"/></method></class></amqp>`, "c.m: field f"},
		{`<amqp><class name="c" index="1"><field name="f" type="float"/></class></amqp>`, "class c: field f"},
	} {
		if _, err := Generate([]byte(c.table)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v; it should say %q", c.table, err, c.says)
		}
	}
}

func TestGoName(t *testing.T) {
	for name, want := range map[string]string{"virtual-host": "VirtualHost", "class-id": "ClassID", "nowait": "NoWait", "type": "Type"} {
		if got := goName(name); got != want {
			t.Errorf("%s becomes %s, not %s", name, got, want)
		}
	}
}
