package trimq

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/native"
)

// standings are a group's positions, as text.
func standings(at []Position) string {
	var list []string
	for _, p := range at {
		list = append(list, fmt.Sprintf("%s/%d@%d%s", p.Topic, p.Partition, p.Offset, p.Metadata))
	}
	return strings.Join(list, " ")
}

// TestResetOffsets: where a group goes on, by every way of saying so.
func TestResetOffsets(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newTopic(t, c, "t", 2)
	newTopic(t, c, "u", 2)
	newTopic(t, c, "other", 1)
	for index := range uint64(4) { // times are 1000 ms and the offset
		f.fill(t, index+1, 100, 10, batch.None)
	}
	f.mu.Lock()
	f.indexes[2].start = 20
	f.mu.Unlock()
	start := []Position{{Topic: "t", Partition: 0, Offset: 50, Metadata: "!"}, {Topic: "t", Partition: 1, Offset: 25}, {Topic: "u", Partition: 1, Offset: 90}}
	for _, x := range []struct {
		name  string
		reset OffsetReset
		want  string
	}{
		{"earliest", OffsetReset{To: Earliest()}, "t/0@0 t/1@20 u/0@0 u/1@0"},
		{"latest of a topic", OffsetReset{To: Latest(), Topics: []string{"t"}}, "t/0@100 t/1@100"},
		{"of a topic without positions", OffsetReset{To: Latest(), Topics: []string{"other"}}, "other/0@0"},
		{"an offset, within the ends", OffsetReset{To: AtOffset(7), Partitions: []uint32{1}}, "t/1@20 u/1@7"},
		{"beyond the end", OffsetReset{To: AtOffset(700), Topics: []string{"u"}}, "u/0@100 u/1@100"},
		{"a time", OffsetReset{To: AtTime(time.UnixMilli(1033)), Topics: []string{"t"}, Partitions: []uint32{0}}, "t/0@30"},
		{"back", OffsetReset{Shift: -10}, "t/0@40 t/1@20 u/1@80"},
		{"forward", OffsetReset{Shift: 11}, "t/0@61 t/1@36 u/1@100"},
		{"far", OffsetReset{Shift: -1 << 63}, "t/0@0 t/1@20 u/1@0"},
	} {
		t.Run(x.name, func(t *testing.T) {
			ctx := testContext(t)
			if err := c.SetOffsets(ctx, x.name, start...); err != nil {
				t.Fatal(err)
			}
			asked := f.count(native.CmdResetOffsets)
			dry := x.reset
			dry.DryRun = true
			if got := standings(must[[]Position](t)(c.ResetOffsets(ctx, x.name, dry))); got != x.want || f.count(native.CmdResetOffsets) != asked {
				t.Fatalf("would be set to %s, want %s", got, x.want)
			}
			if got := standings(must[[]Position](t)(c.ResetOffsets(ctx, x.name, x.reset))); got != x.want {
				t.Fatalf("set to %s, want %s", got, x.want)
			}
			stands := must[[]place](t)(c.groupPlaces(ctx, x.name, nil, nil, true))
			positions, _ := unzip(stands)
			for _, part := range strings.Fields(x.want) {
				if !strings.Contains(standings(positions), part) {
					t.Fatalf("the group stands at %s, want %s", standings(positions), x.want)
				}
			}
		})
	}
}

// TestGovernGroups describes groups, with members and without, and deletes what may be deleted.
func TestGovernGroups(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newTopic(t, c, "t", 2)
	f.fill(t, 1, 100, 10, batch.None)
	ctx := testContext(t)
	if err := c.SetOffsets(ctx, "g", Position{Topic: "t", Offset: 40}, Position{Topic: "t", Partition: 1}); err != nil {
		t.Fatal(err)
	}
	if err := c.SetOffsets(ctx, "a", Position{Topic: "t", Offset: 1}); err != nil {
		t.Fatal(err)
	}
	k := newMember(t, c, WithInstanceID("one"))
	eventually(t, "it has both", func() bool { return len(k.Positions()) == 2 })
	g := must[[]Membership](t)(c.Memberships(ctx, "g"))[0]
	if len(g.Members) != 1 || g.Members[0].Instance != "one" || len(g.Members[0].Assigned) != 2 || g.Type != GroupModern || g.Offsets[0].Lag() != 60 {
		t.Fatalf("described as %+v", g)
	}
	list := must[[]GroupSummary](t)(c.GroupSummaries(ctx))
	if len(list) != 2 || list[0].State != GroupEmpty || list[1].Members != 1 {
		t.Fatalf("listed as %+v", list)
	}
	_, reset := c.ResetOffsets(ctx, "g", OffsetReset{To: Earliest()})
	if deleted := c.DeleteGroup(ctx, "g"); !errors.Is(reset, ErrInUse) || !errors.Is(deleted, ErrInUse) {
		t.Fatalf("a group with members: %v, %v", reset, deleted)
	}
	if err := k.Close(ctx); err != nil {
		t.Fatal(err)
	}
	gone := must[[]Position](t)(c.DeleteOffsets(ctx, "g", "t", 0))
	if left := must[[]GroupInfo](t)(c.Groups(ctx, "g")); standings(gone) != "t/0@40" || len(left[0].Offsets) != 1 {
		t.Fatalf("forgotten is %s, left %+v", standings(gone), left)
	}
	if again := must[[]Position](t)(c.DeleteOffsets(ctx, "g", "t", 0)); again != nil {
		t.Fatalf("what is not there was forgotten: %v", again)
	}
	if err := c.DeleteGroup(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Memberships(ctx, "a"); !errors.Is(err, ErrNotFound) {
		t.Fatalf("a deleted group: %v", err)
	}
	for what, err := range map[string]error{
		"neither To nor Shift": second(c.ResetOffsets(ctx, "g", OffsetReset{})),
		"both":                 second(c.ResetOffsets(ctx, "g", OffsetReset{To: Latest(), Shift: 1})),
		"no such group":        second(c.ResetOffsets(ctx, "none", OffsetReset{To: Latest()})),
		"no such topic":        second(c.ResetOffsets(ctx, "g", OffsetReset{To: Latest(), Topics: []string{"none"}})),
		"no such partition":    second(c.ResetOffsets(ctx, "g", OffsetReset{To: Latest(), Partitions: []uint32{2}})),
		"nor here":             c.SetOffsets(ctx, "g", Position{Topic: "t", Partition: 9}),
	} {
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestTimeAt finds messages' times, in batches that are packed and not.
func TestTimeAt(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newTopic(t, c, "t", 2)
	f.fill(t, 1, 20, 10, batch.None)
	f.fill(t, 1, 20, 10, batch.Zstd)
	ctx := testContext(t)
	for _, offset := range []uint64{0, 9, 10, 35} {
		if at, ok, err := c.TimeAt(ctx, 1, offset); err != nil || !ok || at.UnixMilli() != int64(1000+offset) {
			t.Errorf("offset %d: %v, %v, %v", offset, at, ok, err)
		}
	}
	if _, ok, err := c.TimeAt(ctx, 1, 40); ok || err != nil {
		t.Errorf("behind the end: %v, %v", ok, err)
	}
	if _, _, err := c.TimeAt(ctx, 99, 0); !errors.Is(err, ErrUnknownIndex) {
		t.Errorf("no index: %v", err)
	}
}
