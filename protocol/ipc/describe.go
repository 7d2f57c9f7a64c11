package ipc

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Description is a record as people read it.
type Description struct {
	Name   string // of its type: "Append"
	Head   Head
	Headed bool   // the record has a head; logicsrv's own to persistsrv, and Marker, have none
	Fields string // the other fields, "Index:9 Level:3 …"; of bytes only how many there are
}

// maxFields bounds the text of a record's fields in bytes: lists have no end worth reading.
const maxFields = 512

// Describe decodes any record for people. What cannot be decoded is an error that wraps
// ErrMalformed, with as much as is known: nothing that lies in a ring makes it panic. Of
// TypeEntry only the name is told; its payload is package journal's.
func Describe(typ Type, payload []byte) (Description, error) {
	k, known := kinds[typ]
	if !known {
		return Description{Name: fmt.Sprintf("type %d", typ)}, fmt.Errorf("%w: there is no record type %d", ErrMalformed, typ)
	}
	d := Description{Name: k.name}
	if k.decode == nil {
		return d, nil
	}
	if k.headed {
		d.Head, d.Headed = PeekHead(payload)
	}
	v, err := k.decode(payload)
	if err != nil {
		return d, err
	}
	text := strings.Trim(fmt.Sprintf("%+v", v), "{}")
	if k.headed {
		_, text, _ = strings.Cut(text, "}") // of the head, which comes first and holds none
	}
	d.Fields = Printable(strings.TrimSpace(text), maxFields)
	return d, nil
}

// Printable is text of which nothing can do harm on a terminal, cut to so many bytes. Names and
// headers are whatever clients sent.
func Printable(text string, most int) string {
	var b strings.Builder
	for i, r := range text {
		if b.Len() >= most {
			return b.String() + "…"
		}
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			_, n := utf8.DecodeRuneInString(text[i:])
			for _, c := range []byte(text[i : i+n]) {
				fmt.Fprintf(&b, `\x%02x`, c)
			}
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// FromConn, FromLogic and ToPersist say on which ring a type travels: 12345, 54321 or 65432.
func (t Type) FromConn() bool  { return t > 0 && t < TypeMarker }
func (t Type) FromLogic() bool { return t >= TypeMarker && t < TypeEntry }
func (t Type) ToPersist() bool { return t >= TypeEntry }

// String is the type's name.
func (t Type) String() string {
	if k, ok := kinds[t]; ok {
		return k.name
	}
	return fmt.Sprintf("type %d", uint16(t))
}

// kind is how records of a type are shown.
type kind struct {
	name   string
	headed bool
	decode func(b []byte) (any, error) // nil: the payload is not told
}

// of makes a decoder of one record into one of any.
func of[T any](name string, decode func([]byte) (T, error)) kind {
	return kind{name, true, func(b []byte) (any, error) { return decode(b) }}
}

// bare is of for records without a head.
func bare[T any](name string, decode func([]byte) (T, error)) kind {
	k := of(name, decode)
	k.headed = false
	return k
}

// batched is of for records with a batch behind them, which is not shown.
func batched[T any](name string, decode func([]byte) (T, int, error)) kind {
	return of(name, func(b []byte) (T, error) { v, _, err := decode(b); return v, err })
}

// sized is what is shown of a record that carries bytes of another package.
type sized struct {
	Head
	Command uint16
	Bytes   int
}

func sizedAdmin(b []byte) (sized, error) {
	m, err := DecodeAdmin(b)
	return sized{m.Head, m.Command, len(m.Body)}, err
}

func sizedAdminReply(b []byte) (sized, error) {
	m, err := DecodeAdminReply(b)
	return sized{m.Head, m.Command, len(m.Body)}, err
}

// sizedPart is a CheckpointPart with the number of its bytes.
type sizedPart struct {
	LSN, ResultsFrom uint64
	Part, Parts      uint32
	Bytes            int
}

func decodeSizedPart(b []byte) (sizedPart, error) {
	m, err := DecodeCheckpointPart(b)
	return sizedPart{m.LSN, m.ResultsFrom, m.Part, m.Parts, len(m.Bytes)}, err
}

var kinds = map[Type]kind{
	TypeHello:          of("Hello", DecodeHello),
	TypeSkip:           {name: "Skip"},
	TypeAppend:         batched("Append", DecodeAppend),
	TypePublish:        batched("Publish", DecodePublish),
	TypeInitProducer:   of("InitProducer", DecodeInitProducer),
	TypeAdmin:          of("Admin", sizedAdmin),
	TypeWait:           of("Wait", DecodeWait),
	TypeUnwait:         of("Unwait", DecodeUnwait),
	TypeSubscribe:      of("Subscribe", DecodeSubscribe),
	TypeUnsubscribe:    of("Unsubscribe", DecodeUnsubscribe),
	TypeCredit:         of("Credit", DecodeCredit),
	TypeAck:            of("Ack", DecodeAck),
	TypeCommit:         of("CommitOffsets", DecodeCommitOffsets),
	TypeOffsets:        of("FetchOffsets", DecodeFetchOffsets),
	TypeConnClosed:     of("ConnClosed", DecodeConnClosed),
	TypeSubState:       of("SubState", DecodeSubState),
	TypeResyncEnd:      of("ResyncEnd", DecodeResyncEnd),
	TypeHanded:         of("Handed", DecodeHanded),
	TypePull:           of("Pull", DecodePull),
	TypePullEnd:        of("PullEnd", DecodePullEnd),
	TypeExtend:         of("Extend", DecodeExtend),
	TypeBeginTxn:       of("BeginTxn", DecodeBeginTxn),
	TypeEndTxn:         of("EndTxn", DecodeEndTxn),
	TypeTxnMember:      of("TxnMember", DecodeTxnMember),
	TypeInitTxnal:      of("InitTxnal", DecodeInitTxnal),
	TypeTxnAdd:         of("TxnAdd", DecodeTxnAdd),
	TypeTxnOffsets:     of("TxnOffsets", DecodeTxnOffsets),
	TypeTxnFinish:      of("TxnFinish", DecodeTxnFinish),
	TypeWaitStable:     of("WaitStable", DecodeWaitStable),
	TypeShareHeartbeat: of("ShareHeartbeat", DecodeGroupHeartbeat),
	TypePullFrom:       of("PullFrom", DecodePullFrom),
	TypeGroupHeartbeat: of("GroupHeartbeat", DecodeGroupHeartbeat),
	TypeGroupJoin:      of("GroupJoin", DecodeGroupJoin),
	TypeGroupSync:      of("GroupSync", DecodeGroupSync),
	TypeGroupBeat:      of("GroupBeat", DecodeGroupBeat),
	TypeGroupLeave:     of("GroupLeave", DecodeGroupLeave),
	TypeGroupCommit:    of("GroupCommit", DecodeGroupCommit),

	TypeMarker:          bare("Marker", DecodeMarker),
	TypeError:           of("Error", DecodeError),
	TypeAppended:        of("Appended", DecodeAppended),
	TypePublished:       of("Published", DecodePublished),
	TypeProducer:        of("Producer", DecodeProducer),
	TypeAdminReply:      of("AdminReply", sizedAdminReply),
	TypeVisible:         of("Visible", DecodeVisible),
	TypeSubscribed:      of("Subscribed", DecodeSubscribed),
	TypeSubClosed:       of("SubClosed", DecodeSubClosed),
	TypeDeliver:         of("Deliver", DecodeDeliver),
	TypeAcked:           of("Acked", DecodeDone),
	TypeCommitted:       of("Committed", DecodeDone),
	TypeOffsetList:      of("OffsetList", DecodeOffsetList),
	TypeIndexGone:       bare("IndexGone", DecodeIndexGone),
	TypeTopicChanged:    bare("TopicChanged", DecodeTopicChanged),
	TypeDefined:         bare("Defined", DecodeDefined),
	TypeRecall:          of("Recall", DecodeRecall),
	TypePulled:          of("Pulled", DecodePulled),
	TypeTxnBegun:        of("TxnBegun", DecodeTxnBegun),
	TypeTxnEnded:        of("TxnEnded", DecodeTxnEnded),
	TypeCheckTxn:        of("CheckTxn", DecodeCheckTxn),
	TypeExtended:        of("Extended", DecodeDone),
	TypeStable:          of("Stable", DecodeStable),
	TypeGroupAssignment: of("GroupAssignment", DecodeGroupAssignment),
	TypeGroupJoined:     of("GroupJoined", DecodeGroupJoined),
	TypeGroupSynced:     of("GroupSynced", DecodeGroupSynced),
	TypeGroupAlive:      of("GroupAlive", DecodeDone),
	TypeGroupLeft:       of("GroupLeft", DecodeGroupLeft),

	TypeEntry:      {name: "Entry"},
	TypeCheckpoint: bare("CheckpointPart", decodeSizedPart),
	TypeConfigure:  bare("Configure", DecodeConfigure),

	TypeConfigureCompacted: bare("ConfigureCompacted", DecodeConfigureCompacted),
}
