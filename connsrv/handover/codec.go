package handover

import (
	"github.com/trimq/trimq/protocol/wire"
	"github.com/trimq/trimq/shmqueue/tier"
)

// Version of the format. A program is asked for it before it takes over. Version ladder: 1, the
// first; 2, with a protocol for each connection and listening socket; 3, with the fetch sessions of Kafka's
// clients, AMQP's connections, and the definitions.
const Version = tier.HandOverVersion

// Magic begins what is passed on: "TMQH".
const Magic = 0x48514d54

// Codec goes over the fields of a state, one after the other, and writes each or reads it. All
// integers are uvarints, negative ones in zigzag form.
type Codec struct {
	out  []byte
	in   wire.Cursor
	read bool
}

// Write is a codec that appends to dst.
func Write(dst []byte) *Codec { return &Codec{out: dst} }

// Read is a codec that reads b. What it yields aliases nothing of b.
func Read(b []byte) *Codec { return &Codec{in: wire.Read(b), read: true} }

// Reading tells which of the two it is.
func (c *Codec) Reading() bool { return c.read }

// Written is what was written so far.
func (c *Codec) Written() []byte { return c.out }

// Done says what went wrong with reading, if anything did; bytes that were not read are an error.
func (c *Codec) Done(what string) error { return c.in.Done(what) }

// Failed tells that reading has failed: what follows is empty.
func (c *Codec) Failed() bool { return c.in.Err() != nil }

// Check fails a reading of what cannot be.
func (c *Codec) Check(ok bool) {
	if c.read && !ok {
		c.in.Fail(wire.ErrOutOfRange)
	}
}

// Uint goes over an unsigned integer.
func Uint[T ~uint8 | ~uint16 | ~uint32 | ~uint64](c *Codec, v *T) {
	if !c.read {
		c.out = wire.AppendUvarint(c.out, uint64(*v))
		return
	}
	x := c.in.Uvarint()
	*v = T(x)
	c.Check(uint64(*v) == x)
}

// Int goes over a signed integer.
func Int[T ~int | ~int16 | ~int32 | ~int64](c *Codec, v *T) {
	x := uint64(int64(*v))<<1 ^ uint64(int64(*v)>>63)
	Uint(c, &x)
	if c.read {
		signed := int64(x>>1) ^ -int64(x&1)
		*v = T(signed)
		c.Check(int64(*v) == signed)
	}
}

// Bool goes over a bool.
func (c *Codec) Bool(v *bool) {
	if c.read {
		*v = c.in.Bool()
	} else {
		c.out = wire.AppendBool(c.out, *v)
	}
}

// String goes over a string.
func (c *Codec) String(v *string) {
	if c.read {
		*v = c.in.String()
	} else {
		c.out = wire.AppendString(c.out, *v)
	}
}

// Bytes goes over bytes; none are nil.
func (c *Codec) Bytes(v *[]byte) {
	if !c.read {
		c.out = wire.AppendBytes(c.out, *v)
	} else {
		*v = append([]byte(nil), c.in.Bytes()...)
	}
}

// Block goes over what fill writes, with its length in front, so that it can be passed over
// unread. Reading, it yields the bytes, which alias those that are read.
func (c *Codec) Block(fill func(*Codec)) (b []byte) {
	if c.read {
		return c.in.Bytes()
	}
	inner := Write(nil)
	fill(inner)
	c.out = wire.AppendBytes(c.out, inner.out)
	return nil
}

// List goes over a list, whose elements take at least minBytes each.
func List[T any](c *Codec, list *[]T, minBytes int, each func(*Codec, *T)) {
	n := c.Count(len(*list), minBytes)
	if c.read {
		*list = nil
		if n > 0 {
			*list = make([]T, n)
		}
	}
	for i := range *list {
		each(c, &(*list)[i])
	}
	if c.Failed() {
		*list = nil
	}
}

// maxCount bounds every list.
const maxCount = 1 << 26

// Count goes over the number of elements that follow, each of which takes minBytes or more: that
// many can be allocated.
func (c *Codec) Count(n, minBytes int) int {
	if c.read {
		return c.in.Count(minBytes, maxCount)
	}
	c.out = wire.AppendUvarint(c.out, uint64(n))
	return n
}
