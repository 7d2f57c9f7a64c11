// Package vfs is persistsrv's only way to the disk: a small interface, the operating
// system behind it, and a twin in memory that can be crashed.
//
// Called by persistsrv/seglog and persistsrv/shell, and by logicsrv/sim. Names are relative
// to the data directory and use '/'.
//
// Invariants:
//  1. A file's bytes are durable after Sync, its name after SyncDir of its directory; until
//     then a power cut may keep any part of them, sector by sector, in any order.
//  2. The death of the process loses nothing that a call has returned for.
//  3. WritevAt may stop early; it then says how much it wrote and why.
//  4. An error keeps its errno: errors.Is(err, unix.ENOSPC) works through every layer.
//
// No goroutines. OS and Mem may be used from several; of one File only ReadAt and Size at
// the same time as another call.
//
// If the process dies here, OS leaves what the kernel has taken; Mem says so by Kill.
package vfs
