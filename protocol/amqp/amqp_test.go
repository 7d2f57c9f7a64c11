package amqp

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
)

// every method of the table.
func methods() (all []Arguments) {
	for class := uint16(0); class < 128; class++ {
		for id := uint16(0); id < 256; id++ {
			if m := New(MethodOf(class, id)); m != nil {
				all = append(all, m)
			}
		}
	}
	return all
}

// fill gives each field of a method or of properties a value that no other field of it has.
func fill(m any) {
	v := reflect.ValueOf(m).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Interface().(type) {
		case bool:
			f.SetBool(i%2 == 0)
		case uint8, uint16, uint32, uint64:
			f.SetUint(uint64(i + 1))
		case []byte:
			f.SetBytes(bytes.Repeat([]byte{'a' + byte(i)}, i))
		case Table:
			f.Set(reflect.ValueOf(Table(nil).Add("n", Int32(int32(i)))))
		}
	}
}

func TestMethodsThereAndBack(t *testing.T) {
	all := methods()
	if len(all) != 64 {
		t.Fatalf("%d methods, the table has 64", len(all))
	}
	for _, m := range all {
		fill(m)
		b := AppendMethod(nil, 7, m)
		f := ParseFrame(b)
		payload := b[FrameHeaderSize : len(b)-1]
		if f.Type != FrameMethod || f.Channel != 7 || f.Size != len(payload) || b[len(b)-1] != FrameEnd || MethodAt(payload) != m.Method() {
			t.Errorf("%s: frame %+v of %x", m.Method(), f, b)
		}
		got := New(m.Method())
		if err := got.Decode(payload[MethodHeaderSize:]); err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%s: %+v comes back as %+v, %v", m.Method(), m, got, err)
		}
		for n := range payload[MethodHeaderSize:] {
			if err := New(m.Method()).Decode(payload[MethodHeaderSize : MethodHeaderSize+n]); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s cut to %d bytes: %v", m.Method(), n, err)
			}
		}
		if err := got.Decode(append(payload[MethodHeaderSize:len(payload):len(payload)], 0)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s with a byte behind it: %v", m.Method(), err)
		}
	}
}

func TestNames(t *testing.T) {
	for m, want := range map[Method]string{MethodBasicPublish: "basic.publish", MethodExchangeUnbindOk: "exchange.unbind-ok", MethodOf(60, 7): "60.7"} {
		if m.String() != want {
			t.Errorf("%d is called %s, not %s", m, m, want)
		}
	}
	if !MethodBasicDeliver.HasContent() || MethodBasicAck.HasContent() || New(MethodOf(1, 1)) != nil {
		t.Error("which methods there are, and which have contents")
	}
}

func TestPropertiesThereAndBack(t *testing.T) {
	for _, flags := range []uint16{0, HasHeaders, HasDeliveryMode | HasPriority, 0xffff &^ unknownFlags} {
		var p Properties
		fill(&p)
		p.Flags = flags
		b := p.Append(nil)
		var got Properties
		if err := got.Decode(b); err != nil || !bytes.Equal(got.Append(nil), b) || got.Flags != flags {
			t.Errorf("flags %x: %+v, %v", flags, got, err)
		}
	}
	if err := new(Properties).Decode([]byte{0, 1}); !errors.Is(err, ErrMalformed) {
		t.Errorf("a flag that stands for nothing: %v", err)
	}
}

func TestContentHeader(t *testing.T) {
	b := AppendContentHeader(nil, 3, 1<<33, []byte{0x80, 0, 1, 'x'})
	h, err := ParseContentHeader(b[FrameHeaderSize : len(b)-1])
	if err != nil || h.Class != ClassBasic || h.BodySize != 1<<33 || !bytes.Equal(h.Properties, []byte{0x80, 0, 1, 'x'}) {
		t.Errorf("%+v, %v", h, err)
	}
	if _, err := ParseContentHeader(b[FrameHeaderSize : FrameHeaderSize+ContentHeaderSize]); !errors.Is(err, ErrMalformed) {
		t.Errorf("a header without flags: %v", err)
	}
}

func TestLongTextIsCut(t *testing.T) {
	b := (&ConnectionClose{ReplyText: bytes.Repeat([]byte{'x'}, 300)}).Append(nil)
	var m ConnectionClose
	if err := m.Decode(b); err != nil || len(m.ReplyText) != MaxShortstr {
		t.Errorf("a text of %d bytes, %v", len(m.ReplyText), err)
	}
}
