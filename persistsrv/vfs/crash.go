package vfs

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// Kill ends the process: its open files and locks are void, nothing is lost.
func (m *Mem) Kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.life++
	clear(m.locks)
}

// Crash cuts the power. Of what was not synced, chance keeps some sectors and loses others,
// in no order; of the names that were not synced it keeps the older ones.
//
// One run in four keeps everything and one in four nothing, so that both ends are well tried.
func (m *Mem) Crash(rng *rand.Rand) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.life++
	clear(m.locks)
	chance := [4]float64{0, 1, rng.Float64(), rng.Float64()}[rng.IntN(4)]
	for _, dir := range slices.Sorted(maps.Keys(m.pending)) {
		keep := len(m.pending[dir])
		if chance < 1 && rng.IntN(4) > 0 {
			keep = rng.IntN(keep + 1)
		}
		if chance == 0 && rng.IntN(2) == 0 {
			keep = 0
		}
		m.persistNames(dir, keep)
	}
	clear(m.pending)
	m.dropOrphans()
	m.seen = maps.Clone(m.disk)
	for _, name := range slices.Sorted(maps.Keys(m.disk)) {
		if n := m.disk[name]; !n.dir {
			n.crash(rng, chance)
		}
	}
}

// dropOrphans takes names off the disk whose directory is not there.
func (m *Mem) dropOrphans() {
	for again := true; again; {
		again = false
		for name := range m.disk {
			if name == "" {
				continue
			}
			if d := m.disk[parent(name)]; d == nil || !d.dir {
				delete(m.disk, name)
				again = true
			}
		}
	}
}

// crash leaves what was on the disk plus some of the dirty sectors.
func (n *node) crash(rng *rand.Rand, chance float64) {
	size := n.diskSize
	if n.size != n.diskSize && rng.Float64() < chance {
		size = n.size
		if lo, hi := min(n.size, n.diskSize), max(n.size, n.diskSize); rng.IntN(3) == 0 {
			size = lo + rng.Int64N(hi-lo+1)
		}
	}
	for _, p := range slices.Sorted(maps.Keys(n.dirty)) {
		n.crashPage(rng, chance, p)
	}
	n.cutDisk(size)
	clear(n.dirty)
	cutPages(n.onDisk, size)
	n.size, n.reserved = size, 0
	n.pages = map[int64]*[pageSize]byte{}
	for p, page := range n.onDisk {
		c := *page
		n.pages[p] = &c
	}
}

// crashPage persists some sectors of a dirty page.
func (n *node) crashPage(rng *rand.Rand, chance float64, p int64) {
	for s := int64(0); s < pageSize; s += sectorSize {
		if rng.Float64() >= chance {
			continue
		}
		src, dst := n.pages[p], n.onDisk[p]
		if dst == nil {
			if src == nil {
				continue
			}
			dst = new([pageSize]byte)
			n.onDisk[p] = dst
		}
		if src == nil {
			clear(dst[s : s+sectorSize])
		} else {
			copy(dst[s:s+sectorSize], src[s:s+sectorSize])
		}
	}
}
