package definitions

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/trimq/trimq/protocol/amqp"
)

// maxNesting is how deep arguments may lie in one another.
const maxNesting = 16

// Table makes a field table of arguments, in order of their names. Whole numbers become long ones, as
// RabbitMQ's management makes them.
func Table(args map[string]any) (amqp.Table, error) { return table(args, 0) }

func table(args map[string]any, depth int) (t amqp.Table, err error) {
	for _, name := range slices.Sorted(maps.Keys(args)) {
		if len(name) > math.MaxUint8 {
			return nil, fmt.Errorf("an argument's name has %d bytes; at most 255 are allowed", len(name))
		}
		v, err := value(args[name], depth)
		if err != nil {
			return nil, fmt.Errorf("argument %q: %w", name, err)
		}
		t = t.Add(name, v)
	}
	return t, nil
}

// value makes a field of a JSON value.
func value(x any, depth int) (amqp.Value, error) {
	if depth > maxNesting {
		return amqp.Value{}, fmt.Errorf("it is nested more than %d deep", maxNesting)
	}
	switch x := x.(type) {
	case nil:
		return amqp.Value{Kind: amqp.KindVoid}, nil
	case bool:
		return amqp.Bool(x), nil
	case string:
		return amqp.String(x), nil
	case json.Number:
		if n, err := x.Int64(); err == nil {
			return amqp.Int64(n), nil
		}
		f, err := x.Float64()
		return amqp.Value{Kind: amqp.KindDouble, Raw: binary.BigEndian.AppendUint64(nil, math.Float64bits(f))}, err
	case map[string]any:
		t, err := table(x, depth+1)
		return amqp.Nested(t), err
	case []any:
		var b []byte
		for _, element := range x {
			v, err := value(element, depth+1)
			if err != nil {
				return v, err
			}
			b = amqp.AppendElement(b, v)
		}
		return amqp.Array(b), nil
	}
	return amqp.Value{}, fmt.Errorf("%T is no value of JSON", x)
}

// Arguments makes JSON of a field table. Bytes that are no text are told in base64.
func Arguments(t amqp.Table) map[string]any {
	out := map[string]any{}
	if amqp.CheckTable(t) != nil {
		return out
	}
	for name, v := range t.Each {
		out[string(name)] = plain(v)
	}
	return out
}

// plain is a field's value in JSON.
func plain(v amqp.Value) any {
	if n, ok := v.Int(); ok {
		return n
	}
	if b, ok := v.Bool(); ok {
		return b
	}
	if s, ok := v.Text(); ok {
		if !utf8.Valid(s) {
			return base64.StdEncoding.EncodeToString(s)
		}
		return string(s)
	}
	if f, ok := v.Float(); ok && !math.IsNaN(f) && !math.IsInf(f, 0) {
		return f
	}
	if s, ok := v.Seconds(); ok {
		return s
	}
	switch v.Kind {
	case amqp.KindTable:
		return Arguments(v.Raw)
	case amqp.KindArray:
		list := []any{}
		for element := range v.Elements {
			list = append(list, plain(element))
		}
		return list
	}
	return nil
}

// wholeNumber reads a whole number from JSON.
func wholeNumber(x any) (int64, bool) {
	switch n := x.(type) {
	case json.Number:
		v, err := n.Int64()
		return v, err == nil
	case int64:
		return n, true
	case float64:
		return int64(n), n == math.Trunc(n) && math.Abs(n) < 1<<53
	}
	return 0, false
}

// compact is JSON without the spaces that somebody wrote into it.
func compact(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return string(raw)
	}
	return b.String()
}
