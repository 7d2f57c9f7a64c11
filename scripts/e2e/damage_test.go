package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/trimq/trimq/clients/trimq"
	"github.com/trimq/trimq/scripts/broker"
	"github.com/trimq/trimq/scripts/damage"
)

// wholesale is what the broker of the damage tests holds: messages enough for several segments of
// the log, a queue of which a part is done with, and checkpoints.
const wholesale = 900

// ruin is a stopped broker whose files come to harm, again and again, from the same beginnings.
type ruin struct {
	t     *testing.T
	b     *broker.Broker
	whole string // a copy of its data
}

func newRuin(t *testing.T) *ruin {
	r := &ruin{t: t, b: prepare(t, map[string]string{
		"segment_bytes": `"64Ki"`, "index_entries": "16", "checkpoint_events": "300", "checkpoint_seconds": "1", "checkpoint_bytes": `"64Ki"`,
	}), whole: filepath.Join(t.TempDir(), "whole")}
	if err := r.b.Start(); err != nil {
		t.Fatal(err)
	}
	c := dial(t, r.b)
	topicOf(t, c, "t", trimq.LevelDisk)
	for from := 0; from < wholesale; from += 25 {
		sendWide(t, c, from, from+25)
		if from == wholesale/2 {
			eventually(t, "two checkpoints", func() bool { return metric(t, r.b, "trimq_logic_checkpoints_total") >= 2 })
		}
	}
	if err := r.b.Signal("15"); err != nil {
		t.Fatal(err)
	}
	r.copy(r.b.Config.DataDir, r.whole)
	return r
}

// wide is a value that takes room, even compressed.
func wide(i int) string {
	s := rand.New(rand.NewPCG(uint64(i), 7))
	b := make([]byte, 400)
	for k := range b {
		b[k] = byte('a' + s.IntN(26))
	}
	return strconv.Itoa(i) + " " + string(b)
}

func sendWide(t *testing.T, c *trimq.Client, from, to int) {
	t.Helper()
	p, err := c.NewProducer()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	for i := from; i < to; i++ {
		err := p.Produce(testContext(t), &trimq.Message{Topic: "t", Value: []byte(wide(i))}, func(_ trimq.Result, err error) {
			failed = errors.Join(failed, err)
		})
		failed = errors.Join(failed, err)
	}
	if err := errors.Join(p.Close(testContext(t)), failed); err != nil {
		t.Fatal(err)
	}
}

func (r *ruin) copy(from, to string) {
	r.t.Helper()
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		r.t.Fatalf("%v %s", err, out)
	}
}

// restore puts the data back as they were.
func (r *ruin) restore() {
	r.t.Helper()
	if err := os.RemoveAll(r.b.Config.DataDir); err != nil {
		r.t.Fatal(err)
	}
	for _, tier := range []string{"persistsrv", "logicsrv", "connsrv"} {
		_ = os.Remove(logOf(r.b, tier))
	}
	r.copy(r.whole, r.b.Config.DataDir)
}

// found is what reading the whole topic has given: each message is there, or its offset was told
// as damaged, or it is missing.
type found struct {
	read, told int
	missing    []int
	wrong      []string
}

func (r *ruin) readAll() (f found) {
	ctx, cancel := context.WithTimeout(testContext(r.t), 10*time.Second)
	defer cancel()
	c, err := trimq.Dial(ctx, []string{r.b.Addr})
	if err != nil {
		f.wrong = append(f.wrong, err.Error())
		return f
	}
	defer c.Close(ctx)
	k, err := c.NewConsumer(ctx, []string{"t"})
	if err != nil {
		f.wrong = append(f.wrong, err.Error())
		return f
	}
	defer k.Close(ctx)
	for next := 0; next < wholesale; {
		got, err := k.Poll(ctx)
		var at *trimq.PartitionError
		switch {
		case errors.As(err, &at):
			f.told++
			next = int(at.Offset) + 1
			if err := k.Seek(ctx, "t", 0, trimq.AtOffset(uint64(next))); err != nil {
				f.wrong = append(f.wrong, err.Error())
				return f
			}
			continue
		case err != nil:
			f.wrong = append(f.wrong, fmt.Sprintf("at %d: %v", next, err))
			return f
		}
		for _, m := range got.Records {
			for ; next < int(m.Offset); next++ {
				f.missing = append(f.missing, next)
			}
			if string(m.Value) != wide(next) {
				f.wrong = append(f.wrong, fmt.Sprintf("offset %d holds %.20q", m.Offset, m.Value))
			}
			next++
			f.read++
		}
		got.Release()
	}
	return f
}

func TestExplore(t *testing.T) {
	r := newRuin(t)
	for class := range damage.Classes {
		for _, kind := range damage.Kinds {
			r.restore()
			h, err := damage.Plan(r.b.Config.DataDir, class, kind, rand.New(rand.NewPCG(1, 0)))
			if err != nil {
				continue
			}
			if err := h.Do(r.b.Config.DataDir); err != nil {
				t.Fatal(err)
			}
			fmt.Printf("\n=== %v\n", h)
			out, err := r.b.Run("log", "verify", r.b.Config.DataDir)
			fmt.Printf("verify: %v\n%.1500s", err != nil, out)
			began := time.Now()
			if err := r.b.Start(); err != nil {
				fmt.Printf("START: %.1500v\n", err)
			} else {
				fmt.Printf("read: %+v\n", r.readAll())
			}
			fmt.Println("took", time.Since(began))
			for _, tier := range []string{"persistsrv", "logicsrv"} {
				text, _ := os.ReadFile(logOf(r.b, tier))
				for line := range strings.Lines(string(text)) {
					if strings.Contains(line, "level=ERROR") || strings.Contains(line, "level=WARN") || strings.Contains(line, `"level":"ERROR"`) || strings.Contains(line, `"level":"WARN"`) {
						fmt.Printf("%s: %.300s\n", tier, line)
					}
				}
			}
			_ = r.b.Signal("9")
			_ = r.b.Cleanup()
		}
	}
}
