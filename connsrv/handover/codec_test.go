package handover

import (
	"bytes"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/trimq/trimq/protocol/wire"
)

// thing has a field of each sort.
type thing struct {
	A uint8
	B uint16
	C uint32
	D uint64
	E int
	F int32
	G int64
	H bool
	M int16
	I string
	J []byte
	K []thing
	L []byte // in a block
}

func (x *thing) pass(c *Codec) {
	Uint(c, &x.A)
	Uint(c, &x.B)
	Uint(c, &x.C)
	Uint(c, &x.D)
	Int(c, &x.E)
	Int(c, &x.F)
	Int(c, &x.G)
	c.Bool(&x.H)
	Int(c, &x.M)
	c.String(&x.I)
	c.Bytes(&x.J)
	List(c, &x.K, 13, func(c *Codec, y *thing) { y.pass(c) })
	c.Bytes(&x.L)
}

func drawThing(rt *rapid.T, depth int) (x thing) {
	x.A, x.B, x.C, x.D = rapid.Uint8().Draw(rt, "a"), rapid.Uint16().Draw(rt, "b"), rapid.Uint32().Draw(rt, "c"), rapid.Uint64().Draw(rt, "d")
	x.E, x.F, x.G, x.M, x.H = rapid.Int().Draw(rt, "e"), rapid.Int32().Draw(rt, "f"), rapid.Int64().Draw(rt, "g"), rapid.Int16().Draw(rt, "m"), rapid.Bool().Draw(rt, "h")
	x.I, x.J = rapid.String().Draw(rt, "i"), rapid.SliceOf(rapid.Byte()).Draw(rt, "j")
	if len(x.J) == 0 {
		x.J = nil
	}
	for range rapid.IntRange(0, depth).Draw(rt, "k") {
		x.K = append(x.K, drawThing(rt, depth-1))
	}
	return x
}

// What is written is read as it was, and nothing of it aliases what was read.
func TestReadWhatWasWritten(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		x := drawThing(rt, 2)
		w := Write(nil)
		x.pass(w)
		b := bytes.Clone(w.Written())
		var y thing
		r := Read(b)
		y.pass(r)
		if err := r.Done("the thing"); err != nil {
			rt.Fatal(err)
		}
		for i := range b {
			b[i] = 0xee
		}
		if !reflect.DeepEqual(x, y) {
			rt.Fatalf("%+v came back as %+v", x, y)
		}
	})
}

// Numbers that their field cannot hold, counts that the bytes cannot hold, and bytes behind the end
// are refused, and nothing is yielded.
func TestReadRefuses(t *testing.T) {
	for name, x := range map[string]struct {
		b    []byte
		read func(c *Codec)
	}{
		"a uint8 of 256":       {wire.AppendUvarint(nil, 256), func(c *Codec) { Uint(c, new(uint8)) }},
		"an int32 of 2^31":     {wire.AppendUvarint(nil, 1<<32), func(c *Codec) { Int(c, new(int32)) }},
		"an int16 of 2^15":     {wire.AppendUvarint(nil, 1<<16), func(c *Codec) { Int(c, new(int16)) }},
		"a long form":          {[]byte{0x80, 0}, func(c *Codec) { Uint(c, new(uint64)) }},
		"a bool of 2":          {[]byte{2}, func(c *Codec) { c.Bool(new(bool)) }},
		"a string cut short":   {[]byte{5, 'a'}, func(c *Codec) { c.String(new(string)) }},
		"bytes cut short":      {[]byte{5, 'a'}, func(c *Codec) { c.Bytes(new([]byte)) }},
		"a list of too many":   {wire.AppendUvarint(nil, 1<<40), func(c *Codec) { List(c, new([]thing), 1, func(c *Codec, x *thing) { x.pass(c) }) }},
		"a list cut short":     {[]byte{2, 1, 1, 1}, func(c *Codec) { List(c, new([]thing), 1, func(c *Codec, x *thing) { x.pass(c) }) }},
		"bytes behind the end": {[]byte{1, 1}, func(c *Codec) { Uint(c, new(uint8)) }},
		"what cannot be":       {[]byte{1}, func(c *Codec) { Uint(c, new(uint8)); c.Check(false) }},
	} {
		c := Read(x.b)
		x.read(c)
		if err := c.Done("it"); err == nil || !c.Failed() {
			t.Errorf("%s is taken", name)
		}
	}
}
