// Package loopdisk is a file system on a loop file whose power can be cut, for tests of what is left
// then.
//
// Called by scripts/drill and scripts/power. It needs root. It starts no goroutine; if the calling
// process dies the file system stays mounted, and `umount` takes it away.
package loopdisk
