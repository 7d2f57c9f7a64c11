package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/trimq/trimq/shmqueue"
)

// follower shows the records of a ring as they come. It looks from time to time: records stay
// readable after their release until their place is claimed again, so it misses something only
// where more than the ring's capacity comes between two looks, or more than it may show.
type follower struct {
	ring   *shmqueue.Ring
	show   func(recordView)
	say    func(format string, args ...any)
	most   int // records of one look
	pos    uint64
	shown  int
	buf    []byte
	missed uint64 // bytes
}

// look shows what has come, up to limit records in all (0: no limit); done says that the limit
// is reached.
func (f *follower) look(limit int) (done bool, err error) {
	for n := 0; ; {
		if f.pos > f.ring.Tail() {
			f.say("the end of the ring was taken over, and %d bytes that nobody had seen are cut off", f.pos-f.ring.Tail())
			f.pos = f.ring.Tail()
		}
		rec, ok, err := f.ring.Look(f.pos, f.buf)
		switch {
		case errors.Is(err, shmqueue.ErrPassed):
			f.jump("their place was claimed again")
			continue
		case err != nil && f.ring.Head() > f.pos: // whatever it was, it is passed
			f.jump("they could not be read: " + err.Error())
			continue
		case err != nil || !ok:
			return false, err
		}
		f.buf, f.pos = rec.Payload, rec.End
		if rec.Type == 0 { // a pad
			continue
		}
		f.show(viewRecord(rec))
		n++
		if f.shown++; limit > 0 && f.shown == limit {
			return true, nil
		}
		if n == f.most {
			f.jump("there were too many for one look")
			return false, nil
		}
	}
}

// jump goes on at the ring's head, where a record begins, and says what is passed over.
func (f *follower) jump(why string) {
	head := f.ring.Head()
	if head <= f.pos {
		return
	}
	f.missed += head - f.pos
	f.say("%d bytes of records are not shown: %s", head-f.pos, why)
	f.pos = head
}

func tailRing(c *cli.Context) error {
	if _, err := names(c, "the ring", 1, 1); err != nil {
		return err
	}
	list, err := chosen(c, 1)
	if err != nil {
		return err
	}
	s := list[0]
	if !s.ring() {
		return badUsage("segment %s holds no ring; there are requests, responses and log", s.name)
	}
	if c.Int("most") <= 0 || c.Duration("interval") <= 0 || c.Int("count") < 0 {
		return badUsage("--most and --interval must be above 0, --count cannot be negative")
	}
	seg, err := shmqueue.Inspect(s.key)
	if err != nil {
		return err
	}
	defer seg.Detach()
	f := &follower{
		ring: seg.Ring(), most: c.Int("most"), pos: seg.Ring().Head(),
		show: func(v recordView) { fmt.Fprintln(c.App.Writer, v.text()) },
		say:  func(format string, args ...any) { fmt.Fprintf(c.App.Writer, "… "+format+"\n", args...) },
	}
	tick := time.NewTicker(c.Duration("interval"))
	defer tick.Stop()
	for {
		done, err := f.look(c.Int("count"))
		if done || err != nil {
			return err
		}
		if err := seg.Check(); err != nil { // looked at after its end was read
			return err
		}
		select {
		case <-tick.C:
		case <-c.Context.Done():
			return nil // the way to end it
		}
	}
}
