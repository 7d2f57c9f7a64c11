package shmqueue

import (
	"regexp"
	"sync"
	"testing"
)

func TestMetricsSurvive(t *testing.T) {
	key := freshKey(t)
	if _, err := AttachMetrics(key, false); err == nil {
		t.Fatal("attached to nothing")
	}
	m, err := AttachMetrics(key, true)
	if err != nil {
		t.Fatal(err)
	}
	m.Tier(TierLogic).Add(LogicInputs, 3)
	m.Tier(TierPersist).Set(PersistSegments, 9)
	if err := m.Detach(); err != nil {
		t.Fatal(err)
	}
	if m, err = AttachMetrics(key, true); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Detach() }()
	m.Tier(TierLogic).Add(LogicInputs, 4)
	if got := m.Tier(TierLogic).Load(LogicInputs); got != 7 {
		t.Errorf("counter is %d", got)
	}
	if got := m.Tier(TierPersist).Load(PersistSegments); got != 9 {
		t.Errorf("gauge is %d", got)
	}
	if got := m.Tier(TierConn).Load(0); got != 0 {
		t.Errorf("another tier's counter is %d", got)
	}
	if info, err := Stat(key); err != nil || info.Kind != "metrics" {
		t.Errorf("Stat gave %+v, %v", info, err)
	}
	if _, err := Attach(key, 0, false); err == nil {
		t.Error("the metrics pass for a ring")
	}
}

func TestCountersOfManyThreads(t *testing.T) {
	c := HeapMetrics().Tier(TierConn)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				c.Add(ConnRequests, 2)
			}
		})
	}
	wg.Wait()
	if got := c.Load(ConnRequests); got != 8000 {
		t.Fatalf("counter is %d", got)
	}
}

// TestTables checks what Prometheus demands of the rows.
func TestTables(t *testing.T) {
	name := regexp.MustCompile(`^trimq_(conn|logic|persist)_[a-z0-9_]+$`)
	kinds := map[string]Kind{}
	rows := map[[2]string]bool{}
	for tier := range tierCount {
		table := Stats(tier)
		if len(table) == 0 || len(table) > tierSlots {
			t.Errorf("%v has %d rows", tier, len(table))
		}
		for id, row := range table {
			if row.Name == "" {
				continue
			}
			counter := regexp.MustCompile(`_total$`).MatchString(row.Name)
			switch {
			case !name.MatchString(row.Name) || row.Help == "":
				t.Errorf("%v row %d: %+v", tier, id, row)
			case (row.Kind == KindCounter) != counter || row.Kind != KindCounter && row.Kind != KindGauge:
				t.Errorf("%s: kind %d, but counters and only they end in _total", row.Name, row.Kind)
			case (row.Label == "") != (row.Value == ""):
				t.Errorf("%s: label %q, value %q", row.Name, row.Label, row.Value)
			case kinds[row.Name] != 0 && (kinds[row.Name] != row.Kind || row.Label == ""):
				t.Errorf("%s: rows of one name differ in more than a label", row.Name)
			case rows[[2]string{row.Name, row.Value}]:
				t.Errorf("%s %s: twice", row.Name, row.Value)
			}
			kinds[row.Name] = row.Kind
			rows[[2]string{row.Name, row.Value}] = true
		}
	}
	if Stats(tierCount) != nil {
		t.Error("an unknown tier has rows")
	}
}
