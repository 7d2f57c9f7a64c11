package batch

// Headers walks over the headers of a record, in order. Its zero value has none.
type Headers struct {
	rec  *Record
	at   int
	left int
}

// Headers begins a walk over the record's headers. It ends with the record's next change.
func (rec *Record) Headers() Headers { return Headers{rec: rec, left: rec.HeaderCount} }

// Next gives the next header; false behind the last one. Both slices alias the record; a nil
// value is none.
func (h *Headers) Next() (key, value []byte, ok bool) { return h.NextOf(^uint64(0)) }

// LengthBit stands for names of n bytes in what NextOf takes: the last one for all from 63 on.
func LengthBit(n int) uint64 { return 1 << min(uint(n), 63) }

// NextOf is Next without the headers whose names are of other lengths than these, a set of
// LengthBits.
func (h *Headers) NextOf(lengths uint64) (key, value []byte, ok bool) {
	p, at := h.rec.headers, h.at
	for h.left > 0 {
		h.left--
		size, start := int(p[at]>>1), at+1
		if !isShort(p[at]) {
			size, start = fieldLength(p, at)
		}
		end := start + size
		valueSize, valueStart := int(p[end]>>1), end+1
		if !isShort(p[end]) {
			valueSize, valueStart = fieldLength(p, end)
		}
		at = valueStart + max(valueSize, 0)
		if LengthBit(size)&lengths == 0 {
			continue
		}
		h.at = at
		if valueSize >= 0 {
			value = p[valueStart:at:at]
		}
		return p[start:end:end], value, true
	}
	h.at = at
	return nil, nil, false
}

// isShort tells from a length's first byte that it is one of 0 to 63, as most are, and has no
// other byte: half of the byte is the length then.
func isShort(c byte) bool { return c&0x81 == 0 }

// fieldLength reads the length of a field that a Reader has checked.
func fieldLength(p []byte, i int) (n, next int) {
	long, next := varint32(p, i)
	return int(long), next
}

// At is how many bytes of the headers were walked over: a value ends where Next has come to.
func (h *Headers) At() int { return h.at }

// Bytes are those of the headers from first to end, of a value that was walked over.
func (h *Headers) Bytes(first, end int) []byte { return h.rec.headers[first:end:end] }

// EachHeader calls fn for every header, in order, until it gives false.
func (rec *Record) EachHeader(fn func(key, value []byte) bool) {
	for h := rec.Headers(); ; {
		key, value, ok := h.Next()
		if !ok || !fn(key, value) {
			return
		}
	}
}

// AppendHeaders appends the headers to dst; their values alias the record.
func (rec *Record) AppendHeaders(dst []RecordHeader) []RecordHeader {
	for h := rec.Headers(); ; {
		key, value, ok := h.Next()
		if !ok {
			return dst
		}
		dst = append(dst, RecordHeader{Key: string(key), Value: value})
	}
}
