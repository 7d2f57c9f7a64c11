package main

import (
	"encoding/xml"
	"fmt"
	"strings"
)

// The table as it is written.
type table struct {
	Constants []constant `xml:"constant"`
	Domains   []domain   `xml:"domain"`
	Classes   []class    `xml:"class"`
}

type constant struct {
	Name  string `xml:"name,attr"`
	Value int    `xml:"value,attr"`
	Class string `xml:"class,attr"` // soft-error, hard-error, or nothing
}

type domain struct {
	Name string `xml:"name,attr"`
	Type string `xml:"type,attr"`
}

type class struct {
	Name    string   `xml:"name,attr"`
	Index   int      `xml:"index,attr"`
	Fields  []field  `xml:"field"` // properties of its contents
	Methods []method `xml:"method"`
}

type method struct {
	Name        string  `xml:"name,attr"`
	Index       int     `xml:"index,attr"`
	Synchronous int     `xml:"synchronous,attr"`
	Content     int     `xml:"content,attr"`
	Fields      []field `xml:"field"`
}

type field struct {
	Name     string `xml:"name,attr"`
	Domain   string `xml:"domain,attr"`
	Type     string `xml:"type,attr"`
	Reserved int    `xml:"reserved,attr"`
}

// wireType is how a type of the table is read and written.
type wireType struct {
	goType string
	read   string // method of reader
	write  string // function that appends
}

var wireTypes = map[string]wireType{
	"octet":     {"uint8", "octet", "appendOctet"},
	"short":     {"uint16", "short", "appendShort"},
	"long":      {"uint32", "long", "appendLong"},
	"longlong":  {"uint64", "longlong", "appendLonglong"},
	"timestamp": {"uint64", "longlong", "appendLonglong"},
	"shortstr":  {"[]byte", "shortstr", "appendShortstr"},
	"longstr":   {"[]byte", "longstr", "appendLongstr"},
	"table":     {"Table", "table", "appendTable"},
	"bit":       {"bool", "", ""}, // several of them share an octet
}

// parse reads the table and resolves its domains.
func parse(raw []byte) (*table, error) {
	var t table
	if err := xml.Unmarshal(raw, &t); err != nil {
		return nil, err
	}
	types := map[string]string{}
	for _, d := range t.Domains {
		types[d.Name] = d.Type
	}
	resolve := func(fields []field) error {
		for i := range fields {
			f := &fields[i]
			if f.Type == "" {
				f.Type = types[f.Domain]
			}
			if _, ok := wireTypes[f.Type]; !ok {
				return fmt.Errorf("field %s is of domain %q, type %q, which is not known", f.Name, f.Domain, f.Type)
			}
		}
		return nil
	}
	for _, c := range t.Classes {
		if err := resolve(c.Fields); err != nil {
			return nil, fmt.Errorf("class %s: %w", c.Name, err)
		}
		for _, m := range c.Methods {
			if err := resolve(m.Fields); err != nil {
				return nil, fmt.Errorf("%s.%s: %w", c.Name, m.Name, err)
			}
		}
	}
	return &t, nil
}

// goName is a name of the table as Go has it: virtual-host becomes VirtualHost.
func goName(name string) string {
	var b strings.Builder
	for _, part := range strings.Split(name, "-") {
		switch part {
		case "id":
			b.WriteString("ID")
		case "nowait":
			b.WriteString("NoWait")
		case "":
		default:
			b.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
	}
	return b.String()
}
