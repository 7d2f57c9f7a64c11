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
//
//	go run ./scripts/power -vm DIR -cycles 5 -mode lose      lose, random or keep
//
// cuts the power of a virtual machine instead, in which broker and load work, on a disk with a cache of its
// own: what that was not told to flush is lost, partly kept and torn, or kept. DIR has a script powerloss.sh that is
// called as
//
//	powerloss.sh -M MODE -s SEED -S MEGABYTES DIRECTORY WRITE CHECK
//
// It copies the directory into the machine as the working directory, has an ext4 file system on such a disk at
// /mnt/d, runs WRITE until that prints a line CUT-NOW, cuts the power, boots again with the same disk, and runs
// CHECK, which finds what WRITE has printed in a file acks. What the outside was told before the cut is what is
// checked after it.
package main
