package vfs

// Mem is a file system in memory that can be killed, crashed, filled and made to fail.
