package shmqueue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// The children of the crash tests. They report on stdout, one write to a line, so that what
// they had said when they died is exactly what they had done.

const parkVariable = "TRIMQ_RING_PARK"

func init() {
	roles["crash-producer"] = crashProducer
	roles["crash-consumer"] = crashConsumer
	roles["crash-ringer"] = crashRinger
	roles["crash-creator"] = crashCreator
}

// testRecord is the payload of record seq: its number, then bytes that follow from it, of a
// length that follows from it.
func testRecord(seq uint64) []byte {
	lengths := [...]int{48, 8, 100, 48, 16, 200, 31, 64, 9}
	return testPayload(seq, lengths[seq%uint64(len(lengths))])
}

func testPayload(seq uint64, n int) []byte {
	b := make([]byte, max(n, 8))
	binary.LittleEndian.PutUint64(b, seq)
	for i := 8; i < len(b); i++ {
		b[i] = byte(seq*31) + byte(i)
	}
	return b
}

// testSeq reads a record's number and checks every byte of it.
func testSeq(payload []byte) (uint64, error) {
	if len(payload) < 8 {
		return 0, fmt.Errorf("record of %d bytes", len(payload))
	}
	seq := binary.LittleEndian.Uint64(payload)
	if string(payload) != string(testPayload(seq, len(payload))) {
		return 0, fmt.Errorf("record %d has other bytes than were put", seq)
	}
	return seq, nil
}

var heldLock *os.File

// lockFile takes the lock that stands for a daemon's; it waits for a predecessor's death.
func lockFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			heldLock = f // a file that nobody refers to is closed, and the lock with it
			return err
		}
	}
}

// complain reports why a child cannot play its part.
func complain(err error) int {
	fmt.Fprintln(os.Stderr, filepath.Base(os.Args[0])+":", err)
	return 1
}

// crashProducer: KEY LOCK COUNT. Takes the writing end over, finds where its predecessor
// stopped, and puts the records up to COUNT by every way that there is.
func crashProducer(args []string) int {
	if err := lockFile(args[1]); err != nil {
		return complain(err)
	}
	s, err := joinRing(args[0])
	if err != nil {
		return complain(err)
	}
	count, err := strconv.ParseUint(args[2], 10, 63)
	if err != nil {
		return complain(err)
	}
	p, err := s.Ring().Producer()
	if err != nil {
		return complain(err)
	}
	seq := uint64(0)
	err = s.Ring().Walk(func(rec Record) bool {
		last, err := testSeq(rec.Payload)
		if err != nil {
			complain(err)
			return false
		}
		seq = last + 1
		return true
	})
	if err != nil {
		return complain(err)
	}
	fmt.Println("from", seq)
	for seq < count {
		n, err := putSome(p, seq, count)
		if err != nil {
			return complain(err)
		}
		for range n {
			fmt.Println("put", seq)
			seq++
		}
		s.Ring().Bell().Ring()
	}
	fmt.Println("end")
	return 0
}

// putSome puts one record, or a few together, by the way that the number asks for.
func putSome(p *Producer, seq, count uint64) (n int, err error) {
	switch seq % 7 {
	case 3: // in place
		payload := testRecord(seq)
		s, err := p.Claim(len(payload), 1, 0)
		if err != nil {
			return 0, err
		}
		copy(s.Payload, payload)
		s.Publish()
		return 1, nil
	case 4: // behind a claim that is given up
		s, err := p.Claim(40, 1, 0)
		if err != nil {
			return 0, err
		}
		copy(s.Payload, "given up")
		s.Discard()
		_, err = p.Put(1, 0, testRecord(seq))
		return 1, err
	case 5: // a batch whose claim is larger than needed
		b, err := p.ClaimBatch(512)
		if err != nil {
			return 0, err
		}
		for range 2 {
			payload := testRecord(seq + uint64(n))
			room, ok := b.Add(len(payload), 1, 0)
			if !ok {
				return n, errors.New("no room in the batch")
			}
			copy(room, payload)
			n++
		}
		b.Publish()
		return n, nil
	case 1: // a batch of ready messages
		var messages []Message
		for i := seq; i < min(seq+2, count); i++ {
			messages = append(messages, Message{Type: 1, Payload: testRecord(i)})
		}
		return p.PutBatch(messages)
	default:
		payload := testRecord(seq)
		_, err := p.Put(1, 0, payload[:4], payload[4:])
		return 1, err
	}
}

// crashConsumer: KEY BELLKEY LOCK COUNT. Takes the reading end over, reports every record,
// releases now and then, rings the producer's bell, and ends behind record COUNT-1.
func crashConsumer(args []string) int {
	if err := lockFile(args[2]); err != nil {
		return complain(err)
	}
	s, err := joinRing(args[0])
	if err != nil {
		return complain(err)
	}
	other, err := joinRing(args[1])
	if err != nil {
		return complain(err)
	}
	count, err := strconv.ParseUint(args[3], 10, 63)
	if err != nil {
		return complain(err)
	}
	c, err := s.Ring().Consumer()
	if err != nil {
		return complain(err)
	}
	bell := other.Ring().Bell()
	bell.Ring()
	fmt.Println("from", c.Read())
	for n := 0; ; n++ {
		rec, ok := c.Next()
		if !ok && c.Err() != nil {
			return complain(c.Err())
		}
		if !ok {
			s.Ring().Bell().Sleep(func() bool { return !c.Ready() }, 20*time.Millisecond)
			continue
		}
		seq, err := testSeq(rec.Payload)
		if err != nil {
			return complain(err)
		}
		fmt.Println("got", seq)
		if n%3 == 2 || seq == count-1 {
			if c.Release(c.Read()) {
				bell.Ring()
			}
			fmt.Println("released", c.Read())
		}
		if seq == count-1 {
			fmt.Println("end")
			return 0
		}
	}
}

// crashRinger: KEY LOCK COUNT. Takes the writing end over and puts COUNT records, ringing
// after each; COUNT 0 only takes it over.
func crashRinger(args []string) int {
	if err := lockFile(args[1]); err != nil {
		return complain(err)
	}
	s, err := joinRing(args[0])
	if err != nil {
		return complain(err)
	}
	count, err := strconv.ParseUint(args[2], 10, 63)
	if err != nil {
		return complain(err)
	}
	p, err := s.Ring().Producer()
	if err != nil {
		return complain(err)
	}
	for seq := range count {
		if _, err := p.Put(1, 0, testRecord(seq)); err != nil {
			return complain(err)
		}
		s.Ring().Bell().Ring()
		if seq == 0 { // let it fall asleep again
			time.Sleep(5 * time.Millisecond)
		}
	}
	fmt.Println("end")
	return 0
}

// crashCreator: KEY CAPACITY. Creates a ring, or completes one.
func crashCreator(args []string) int {
	key, err := strconv.Atoi(args[0])
	if err != nil {
		return complain(err)
	}
	capacity, err := strconv.ParseUint(args[1], 10, 63)
	if err != nil {
		return complain(err)
	}
	s, err := Attach(key, capacity, true)
	if err != nil {
		return complain(err)
	}
	fmt.Println("nonce", s.Ring().Nonce())
	fmt.Println("end")
	return 0
}
