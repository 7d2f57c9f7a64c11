// Command power cuts the power under a broker at work, as far as its file system is concerned, and
// checks what is there when it comes back.
//
//	make drill-power
//	go run ./scripts/power -cycles 20 -seed 7 -fs xfs
//	go run ./scripts/power -break persist-no-sync     a control: the disk is not told to sync
//
// The data directory lies on a loop file with a file system of its own. A cut shuts that file system
// down (the shutdown ioctl, without a log flush): what is synced stays, all else is gone, and every
// later write fails. The daemons live on for a moment, as if nobody had noticed; then they are killed,
// the segments are removed, the file system is mounted again, and the broker started on it.
//
// Then: what was acknowledged at level disk is there, at its offsets. Of what was sent at level page there
// is a prefix, in each partition. A queue delivers what was acknowledged and not settled, and nothing
// whose settlement was confirmed. `trimq log verify` finds nothing damaged.
//
// It needs root, to mount; where it cannot, it says why and does nothing.
package main
